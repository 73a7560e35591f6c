import os

# Otherwise gcsfs asks by gRPC which kind of bucket it is, and waits for a minute.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

import gcsfs
from task import BUCKET, ENDPOINT, KEYS, listed, report

fs = gcsfs.GCSFileSystem(endpoint_url=ENDPOINT, token="anon", project="any")
for key in KEYS:
    report(key, fs.cat(f"{BUCKET}/{key}"))
with fs.open(f"{BUCKET}/dir/large.bin") as file:
    file.seek(20_000_000)
    assert file.read(3) == fs.cat_file(f"{BUCKET}/dir/large.bin", start=20_000_000, end=20_000_003)
listed(path[len(BUCKET) + 1 :] for path in fs.find(BUCKET))
