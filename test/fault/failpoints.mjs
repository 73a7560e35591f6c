// Loaded into a member (`node --import`): kills it with SIGKILL at one step of its work on its cache directory. The member
// itself contains no failpoints. FAILPOINT is JSON of the type `Failpoint` of killed-member.ts.
import fs from "node:fs";
import { sep } from "node:path";

const { directory, step, nth, how, armed } = JSON.parse(process.env.FAILPOINT);
const FOOTER_BYTES = 4096;

let isArmed = armed === "at start";
process.on("SIGUSR2", () => {
  isArmed = true;
});

const originals = { ...fs };
/** Descriptors of files in the cache directory. */
const ours = new Set();
let steps = 0;

/** Returns whether the process must die at this step. */
function isDue(name) {
  return isArmed && name === step && ++steps === nth;
}

function isOurs(path) {
  return typeof path === "string" && path.startsWith(directory + sep);
}

function die() {
  process.kill(process.pid, "SIGKILL");
}

/** Dies before the call, in the middle of it (as `half` defines) or after it, before its callback. */
function pass(name, call, half) {
  if (!isDue(name)) return;
  if (how === "after") call();
  if (how === "half") half?.();
  die();
}

fs.open = (...call) => {
  const [path, flags, mode, done] = call;
  if (!isOurs(path)) return originals.open(...call);
  const { O_CREAT, O_RDWR } = fs.constants;
  const name = flags & O_CREAT ? "create" : flags & O_RDWR ? "update" : "open";
  pass(name, () => originals.openSync(path, flags, mode));
  return originals.open(path, flags, mode, (error, fd) => {
    if (!error) ours.add(fd);
    done(error, fd);
  });
};

fs.close = (fd, done) => {
  if (ours.delete(fd)) pass("close", () => originals.closeSync(fd));
  return originals.close(fd, done);
};

fs.writev = (fd, sources, position, done) => {
  if (ours.has(fd)) {
    const bytes = Buffer.concat(sources);
    const write = (count) => originals.writeSync(fd, bytes, 0, count, position);
    const name = bytes.length === FOOTER_BYTES ? "write footer" : "write segments";
    pass(
      name,
      () => write(bytes.length),
      () => write(bytes.length >> 1),
    );
  }
  return originals.writev(fd, sources, position, done);
};

fs.futimes = (fd, accessed, modified, done) => {
  if (ours.has(fd)) pass("refresh time", () => originals.futimesSync(fd, accessed, modified));
  return originals.futimes(fd, accessed, modified, done);
};

fs.unlink = (path, done) => {
  if (isOurs(path)) pass("remove", () => originals.unlinkSync(path));
  return originals.unlink(path, done);
};
