"""Training encoders: video–text contrastive learning, and masked distillation from a teacher."""
