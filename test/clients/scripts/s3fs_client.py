import s3fs
from task import BUCKET, ENDPOINT, KEYS, listed, report

fs = s3fs.S3FileSystem(endpoint_url=ENDPOINT)
for key in KEYS:
    report(key, fs.cat(f"{BUCKET}/{key}"))
with fs.open(f"{BUCKET}/dir/large.bin") as file:
    file.seek(20_000_000)
    assert file.read(3) == fs.cat_file(f"{BUCKET}/dir/large.bin", start=20_000_000, end=20_000_003)
assert BUCKET in fs.ls("")
listed(path[len(BUCKET) + 1 :] for path in fs.find(BUCKET))
