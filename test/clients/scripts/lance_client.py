import os

import lance
import pyarrow
from task import ENDPOINT

uri = f"s3://{os.environ['ORIGIN_BUCKET']}/table.lance"
written = pyarrow.table({"number": range(100_000), "text": [f"row {at}" for at in range(100_000)]})
origin = {
    "aws_endpoint": os.environ["ORIGIN"],
    "aws_access_key_id": os.environ["ORIGIN_ACCESS_KEY_ID"],
    "aws_secret_access_key": os.environ["ORIGIN_SECRET_ACCESS_KEY"],
    "aws_region": "us-east-1",
    "allow_http": "true",
}
try:
    lance.dataset(uri, storage_options=origin)
except ValueError:
    lance.write_dataset(written, uri, storage_options=origin)

dataset = lance.dataset(uri, storage_options={"aws_endpoint": ENDPOINT, "aws_region": "us-east-1", "allow_http": "true"})
assert dataset.count_rows() == 100_000
assert dataset.to_table().equals(written)
assert dataset.take([5, 77_777]).column("text").to_pylist() == ["row 5", "row 77777"]
