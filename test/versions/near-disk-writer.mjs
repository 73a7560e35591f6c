// A process that reads and writes a near cache's directory until it is ended: `near-disk-writer.mjs <the client's test support> <directory> <bytes> <seed>`.
// Prints a line for each round. Exits with 3 at a wrong byte.

const [support, path, limitBytes, seed] = process.argv.slice(2);
const { NearDisk, PageTarget, ramp, RunningCall, systemClock } = await import(support);
const PAGE_BYTES = 64 << 10;
const PAGES = 6;
let state = Number(seed);
const random = (below) => {
  state = (state * 48_271) % 2_147_483_647;
  return state % below;
};
const disk = await NearDisk.open({ path, limitBytes: Number(limitBytes), clock: systemClock, log: console.error });
for (;;) {
  for (let i = 0; i < 8; i++) {
    const object = { url: "s3://bucket/file", version: `v${random(40)}`, objectSize: PAGES * PAGE_BYTES };
    const [from, pages] = [random(PAGES) * PAGE_BYTES, 1 + random(3)];
    const end = Math.min(from + pages * PAGE_BYTES, object.objectSize);
    const call = new RunningCall({ clock: systemClock, subject: object.url });
    const target = new PageTarget({ offset: from, length: end - from, memory: undefined, from, end, objectSize: undefined });
    const found = await disk.read(object, target, call);
    call.end();
    if (found !== undefined && !target.result(found.objectSize).subarray(0, found.readBytes).equals(ramp(from, found.readBytes)))
      process.exit(3);
    if (found === undefined) disk.keep(object, from, ramp(from, end - from));
  }
  await disk.flush();
  console.log("written");
}
