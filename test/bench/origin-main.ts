// The S3 emulator as a process of its own, controlled by messages: it shares no event loop with what is measured.
import type { FaultRule } from "../emulators/faults.js";
import { S3Emulator } from "../emulators/s3.js";
import { seededRandom } from "../seeded-random.js";

export type OriginCommand =
  | { readonly kind: "ramp"; readonly key: string; readonly size: number; readonly seed: number }
  | { readonly kind: "many"; readonly prefix: string; readonly count: number; readonly size: number }
  | { readonly kind: "pace"; readonly latencyMs: number; readonly bytesPerSecond: number | undefined }
  | { readonly kind: "tail"; readonly latencyMs: number; readonly share: number; readonly tailMs: number }
  | { readonly kind: "traffic" };

export interface OriginReply {
  readonly id: number;
  readonly version?: string;
  readonly gets?: number;
  readonly requests?: number;
  readonly bytesSent?: number;
}

const emulator = await S3Emulator.start();

function obey(command: OriginCommand): Omit<OriginReply, "id"> {
  if (command.kind === "ramp") return { version: emulator.putRamp("bench", command.key, command.size, command.seed) };
  if (command.kind === "many") {
    const { prefix, count, size } = command;
    for (let number = 0; number < count; number++) emulator.putRamp("bench", `${prefix}-${number}`, size, number);
    return {};
  }
  if (command.kind === "traffic") {
    const { gets, requests, bytesSent } = emulator.traffic;
    const reply = { gets: gets.length, requests: requests.GET ?? 0, bytesSent };
    emulator.traffic.reset();
    return reply;
  }
  emulator.faults.clear();
  if (command.kind === "tail") {
    const { latencyMs, share, tailMs } = command;
    const random = seededRandom(1);
    emulator.faults.place({ latencyMs: () => (random() < share ? tailMs : latencyMs * (0.75 + random() / 2)) });
    return {};
  }
  const { latencyMs, bytesPerSecond } = command;
  const rule: FaultRule = bytesPerSecond === undefined ? { latencyMs } : { latencyMs, bytesPerSecond };
  if (latencyMs > 0 || bytesPerSecond !== undefined) emulator.faults.place(rule);
  return {};
}

process.on("message", ({ id, command }: { id: number; command: OriginCommand }) => process.send!({ id, ...obey(command) }));
process.once("disconnect", () => process.exit(0));
process.send!({ id: 0, version: emulator.endpoint });
