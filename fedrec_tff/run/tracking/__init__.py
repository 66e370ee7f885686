"""What follows a run while it trains and afterwards: TensorBoard, trackers, one's own managers."""
