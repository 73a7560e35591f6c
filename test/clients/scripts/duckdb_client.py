import glob
import os

import duckdb
import duckdb_extension_httpfs
from task import BUCKET, HOST, listed, report

connection = duckdb.connect()
extension = glob.glob(f"{os.path.dirname(duckdb_extension_httpfs.__file__)}/extensions/*/httpfs.duckdb_extension")[0]
connection.execute(f"INSTALL '{extension}'")
connection.execute("LOAD httpfs")
connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID 'any', SECRET 'any-secret', ENDPOINT '{HOST}', URL_STYLE 'path', USE_SSL false)")
rows = connection.execute(f"SELECT filename, content FROM read_blob('s3://{BUCKET}/**')").fetchall()
prefix = f"s3://{BUCKET}/"
for name, content in rows:
    report(name[len(prefix) :], content)
assert connection.execute(f"SELECT count(*), sum(a) FROM read_csv('s3://{BUCKET}/data/table.csv')").fetchone() == (1000, 499500)
listed(name[len(prefix) :] for name, _ in rows)
