from task import BUCKET, ENDPOINT, written
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

FILES, DELETED = written()
client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options={"api_endpoint": ENDPOINT})
bucket = client.bucket(BUCKET)
for key, path in FILES:
    bucket.blob(key, chunk_size=1 << 20).upload_from_filename(path)
for key in DELETED:
    bucket.blob(key).delete()
