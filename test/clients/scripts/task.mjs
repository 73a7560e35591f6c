// The task of all clients in JavaScript, and how they report: a line of JSON for each object, and one for the listing.
import { createHash } from "node:crypto";

export const { ENDPOINT, BUCKET, CLIENT_FOLDER } = process.env;
export const KEYS = JSON.parse(process.env.KEYS ?? "[]");

export async function bytesOf(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function report(key, data) {
  console.log(JSON.stringify({ key, size: data.length, md5: createHash("md5").update(data).digest("hex") }));
}

export function listed(keys) {
  console.log(JSON.stringify({ listed: keys }));
}

/** What a program that writes has to do: pairs of a key and the file to write there, and keys to delete. */
export function written() {
  const { SOURCE, PREFIX, FILES, DELETED } = process.env;
  const files = JSON.parse(FILES).map((name) => [`${PREFIX}/${name}`, `${SOURCE}/${name}`]);
  return { files, deleted: JSON.parse(DELETED) };
}
