"""Writes a Parquet file of several row groups, or opens one by one of several readers. Arguments: `write` and a file, or a reader's name."""
import sys

from task import BUCKET, ENDPOINT, HOST

KEY = f"{BUCKET}/table.parquet"


def write(file):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({f"column{at}": range(400_000) for at in range(8)})
    pyarrow.parquet.write_table(table, file, row_group_size=50_000)


def pyarrow_rows():
    from pyarrow import fs, parquet

    return parquet.ParquetFile(KEY, filesystem=fs.S3FileSystem(endpoint_override=HOST, scheme="http")).metadata.num_rows


def polars_rows():
    import polars

    options = {"aws_endpoint": ENDPOINT, "aws_allow_http": "true", "aws_region": "us-east-1"}
    return polars.scan_parquet(f"s3://{KEY}", storage_options=options).select(polars.len()).collect().item()


def duckdb_rows():
    import glob
    import os

    import duckdb
    import duckdb_extension_httpfs

    connection = duckdb.connect()
    extension = glob.glob(f"{os.path.dirname(duckdb_extension_httpfs.__file__)}/extensions/*/httpfs.duckdb_extension")[0]
    connection.execute(f"INSTALL '{extension}'")
    connection.execute("LOAD httpfs")
    connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID 'any', SECRET 'any-secret', ENDPOINT '{HOST}', URL_STYLE 'path', USE_SSL false)")
    return connection.execute(f"SELECT count(*) FROM read_parquet('s3://{KEY}')").fetchone()[0]


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    assert {"pyarrow": pyarrow_rows, "polars": polars_rows, "duckdb": duckdb_rows}[sys.argv[1]]() == 400_000
