"""Two stacked LSTMs and a label, over a whole sequence or over pieces of one."""
