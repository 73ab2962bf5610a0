"""The frozen-backbone probe: attentive pooling over the tokens around a frame, one logit each."""
