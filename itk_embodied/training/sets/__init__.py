"""The three training sets of InterleaveThinker's method, made from trajectories: filters, exports, parquet, cards."""
