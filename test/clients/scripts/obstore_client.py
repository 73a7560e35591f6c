from task import BUCKET, ENDPOINT, KEYS, listed, report
from obstore.store import S3Store

store = S3Store(BUCKET, endpoint=ENDPOINT, region="us-east-1", client_options={"allow_http": True})
for key in KEYS:
    report(key, bytes(store.get(key).bytes()))
listed(meta["path"] for page in store.list() for meta in page)
