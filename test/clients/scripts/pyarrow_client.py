from task import BUCKET, HOST, KEYS, listed, report
from pyarrow import fs

store = fs.S3FileSystem(endpoint_override=HOST, scheme="http")
for key in KEYS:
    with store.open_input_file(f"{BUCKET}/{key}") as file:
        report(key, file.read())
infos = store.get_file_info(fs.FileSelector(BUCKET, recursive=True))
listed(info.path[len(BUCKET) + 1 :] for info in infos if info.type == fs.FileType.File)
