from task import BUCKET, ENDPOINT, KEYS, listed, report
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options={"api_endpoint": ENDPOINT})
bucket = client.get_bucket(BUCKET)
for key in KEYS:
    blob = bucket.get_blob(key)
    data = blob.download_as_bytes()
    assert blob.size == len(data), key
    report(key, data)
    if len(data) > 20:
        assert blob.download_as_bytes(start=5, end=14) == data[5:15], key
listed(blob.name for blob in client.list_blobs(BUCKET))
