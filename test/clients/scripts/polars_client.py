import polars
from task import BUCKET, ENDPOINT

options = {"aws_endpoint": ENDPOINT, "aws_allow_http": "true", "aws_region": "us-east-1"}
table = polars.scan_csv(f"s3://{BUCKET}/data/table.csv", storage_options=options).collect()
assert (table.height, table["a"].sum()) == (1000, 499500)
globbed = polars.scan_csv(f"s3://{BUCKET}/data/*.csv", storage_options=options).select(polars.len()).collect().item()
assert globbed == 1000
