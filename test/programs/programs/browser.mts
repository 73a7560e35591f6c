// A page's script: reads a range through the S3 endpoint, from another origin, then more of the same version.
const endpoint = new URLSearchParams(location.search).get("endpoint");
const object = `http://${endpoint}/s3/bucket/object`;

async function read(first: number, last: number, headers: Record<string, string> = {}): Promise<Response> {
  const response = await fetch(object, { headers: { Range: `bytes=${first}-${last}`, ...headers } });
  if (response.status !== 206) throw new Error(`${response.status} ${await response.text()}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const isRight = bytes.length === last - first + 1 && bytes.every((byte, index) => byte === (first + index + 3) % 251);
  if (!isRight) throw new Error(`bytes ${first} to ${last} are wrong`);
  return response;
}

try {
  const response = await read(1_000, 1_999);
  if (response.headers.get("content-range") !== "bytes 1000-1999/5000000") throw new Error("the page cannot read Content-Range");
  const version = response.headers.get("etag");
  if (version === null) throw new Error("the page cannot read ETag");
  await read(4_000_000, 4_000_009, { "If-Match": version });
  document.title = "ok";
} catch (error) {
  document.title = String(error);
}

export {};
