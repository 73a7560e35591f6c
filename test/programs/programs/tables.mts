// Writes the tables that the other programs read.
import { writeFileSync } from "node:fs";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { parquetWriteBuffer } from "hyparquet-writer";

const ids = Array.from({ length: 100 }, (_, id) => id);
const names = ids.map((id) => `row ${id}`);
const columns = [
  { name: "id", data: Int32Array.from(ids), type: "INT32" as const },
  { name: "name", data: names, type: "STRING" as const },
];
writeFileSync("table.parquet", new Uint8Array(parquetWriteBuffer({ columnData: columns })));
writeFileSync("table.arrow", tableToIPC(tableFromArrays({ id: Int32Array.from(ids) }), "file"));
console.log("ok");
