from task import BUCKET, HOST, KEYS, listed, report
from minio import Minio

client = Minio(endpoint=HOST, access_key="any", secret_key="any-secret", secure=False)
for key in KEYS:
    report(key, client.get_object(bucket_name=BUCKET, object_name=key).read())
assert client.bucket_exists(bucket_name=BUCKET)
listed(entry.object_name for entry in client.list_objects(bucket_name=BUCKET, recursive=True))
