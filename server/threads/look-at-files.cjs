// A thread that sees a little of many files, for file-survey.ts. Plain CommonJS beside the sources and the build, so that both
// find it at the same place. Calls that block are what it is for: they cost an eighth of the thread pool's.
const fs = require("node:fs");
const { parentPort } = require("node:worker_threads");

/** A foreign file must not block the thread (a pipe), nor lead elsewhere (a link). */
const FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0) | (fs.constants.O_NOFOLLOW ?? 0);

/** Reads into the whole of `target`; fewer bytes at the file's end. */
function read(fd, target, position) {
  for (let at = 0; ; ) {
    const count = fs.readSync(fd, target, at, target.length - at, position + at);
    at += count;
    if (count === 0 || at === target.length) return at;
  }
}

/** Bytes read and the fields of the file's stat, or what went wrong. */
function look(path, target, position) {
  let fd;
  try {
    fd = fs.openSync(path, FLAGS);
    const bytesRead = read(fd, target, position);
    const { size, blocks, mtimeMs, birthtimeMs } = fs.fstatSync(fd);
    return { bytesRead, stat: { size, blocks, mtimeMs, birthtimeMs } };
  } catch ({ code, message }) {
    return { code, message };
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

parentPort.on("message", ({ paths, position, lengthBytes }) => {
  const bytes = new Uint8Array(paths.length * lengthBytes);
  const looks = paths.map((path, i) => look(path, bytes.subarray(i * lengthBytes, (i + 1) * lengthBytes), position));
  parentPort.postMessage({ looks, bytes }, [bytes.buffer]);
});
