import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { allowsLarger, KernelSendBuffers } from "./kernel-send-buffers.js";

const LIMITS = { requestedBytes: 4 << 20, automaticBytes: 4 << 20 };

/** Buffers whose system calls are recorded: the descriptor and the size of each. */
function recordedBuffers(limits = LIMITS, result = 0): { buffers: KernelSendBuffers; set: [number, number][] } {
  const set: [number, number][] = [];
  const setsockopt = (descriptor: number, _level: number, _option: number, [bytes]: Int32Array): number => {
    set.push([descriptor, bytes!]);
    return result;
  };
  return { buffers: new KernelSendBuffers({ setsockopt }, limits), set };
}

describe("kernel send buffers", () => {
  it("enlarges the buffer of a socket once, to at most what the kernel allows", () => {
    const { buffers, set } = recordedBuffers({ ...LIMITS, requestedBytes: 3 << 20 });
    const socket = new Socket();
    expect([buffers.enlarge(socket, 7), buffers.enlarge(socket, 7)]).toEqual([true, false]);
    expect(set).toEqual([[7, 3 << 20]]);
  });

  it("reports a buffer that the kernel does not enlarge as unchanged", () => {
    const { buffers } = recordedBuffers(LIMITS, -1);
    expect(buffers.enlarge(new Socket(), 7)).toBe(false);
  });

  it("enlarges at most 64 buffers at a time, and others after sockets were closed", () => {
    const { buffers } = recordedBuffers();
    const sockets = Array.from({ length: 64 }, () => new Socket());
    expect(sockets.map((socket) => buffers.enlarge(socket, 7))).toEqual(sockets.map(() => true));
    const next = new Socket();
    expect(buffers.enlarge(next, 8)).toBe(false);
    sockets[0]!.emit("close");
    expect(buffers.enlarge(next, 8)).toBe(true);
  });

  it("are not used if the kernel allows programs no more than its own buffers have", () => {
    expect(allowsLarger(LIMITS)).toBe(true);
    expect(allowsLarger({ ...LIMITS, requestedBytes: 212_992 })).toBe(false);
  });
});
