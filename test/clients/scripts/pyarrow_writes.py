from task import BUCKET, HOST, written
from pyarrow import fs

FILES, DELETED = written()
store = fs.S3FileSystem(endpoint_override=HOST, scheme="http")
for key, path in FILES:
    with open(path, "rb") as file, store.open_output_stream(f"{BUCKET}/{key}") as out:
        out.write(file.read())
# Several objects in one request.
store.delete_dir(f"{BUCKET}/{DELETED[0].rsplit('/', 1)[0]}")
