"""What our ROS API costs over the library beneath it: the same pictures, through both, in turns, in one run."""
