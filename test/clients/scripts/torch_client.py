from task import BUCKET, ENDPOINT, listed, report
from s3torchconnector import S3ClientConfig, S3IterableDataset, S3MapDataset

style = S3ClientConfig(force_path_style=True)
dataset = S3MapDataset.from_prefix(f"s3://{BUCKET}/", region="us-east-1", endpoint=ENDPOINT, s3client_config=style)
keys = []
for at in range(len(dataset)):
    reader = dataset[at]
    report(reader.key, reader.read())
    keys.append(reader.key)
stream = S3IterableDataset.from_prefix(f"s3://{BUCKET}/dir/", region="us-east-1", endpoint=ENDPOINT, s3client_config=style)
assert [reader.key for reader in stream] == ["dir/large.bin", "dir/medium.bin"]
listed(keys)
