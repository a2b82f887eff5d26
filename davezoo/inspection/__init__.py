"""What a data set looks like: statistics, proposed settings, and a page that shows them."""
