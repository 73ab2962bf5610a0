"""Looking for moments by text, with tokens of a video–text backbone."""
