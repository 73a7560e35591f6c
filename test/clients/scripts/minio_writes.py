from task import BUCKET, HOST, written
from minio import Minio
from minio.deleteobjects import DeleteObject

FILES, DELETED = written()
client = Minio(endpoint=HOST, access_key="any", secret_key="any-secret", secure=False)
for key, path in FILES:
    client.fput_object(bucket_name=BUCKET, object_name=key, file_path=path, part_size=5 << 20, num_parallel_uploads=3)
errors = client.remove_objects(bucket_name=BUCKET, delete_object_list=[DeleteObject(key) for key in DELETED])
assert list(errors) == []
