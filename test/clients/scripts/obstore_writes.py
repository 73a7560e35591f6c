import obstore
from task import BUCKET, ENDPOINT, written
from obstore.store import S3Store

FILES, DELETED = written()
store = S3Store(BUCKET, endpoint=ENDPOINT, region="us-east-1", allow_http=True, virtual_hosted_style_request=False)
for key, path in FILES:
    with open(path, "rb") as file:
        obstore.put(store, key, file.read(), chunk_size=5 << 20, max_concurrency=3)
obstore.delete(store, DELETED)
