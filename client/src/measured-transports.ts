import { GrpcChannels, type GrpcChannelsOptions } from "./members/grpc/grpc-channels.js";
import { GrpcTransport } from "./members/grpc/grpc-transport.js";
import { LandingTransport } from "./members/http/landing-transport.js";
import type { AnswerHead, CallLimits, MemberAddress, ReadRequest, ReadTarget } from "./members/transport.js";
import type { By, ClientMetrics } from "./metrics.js";

type Read = (target: ReadTarget) => Promise<void>;

/** Makes the transport that reads by gRPC, counted where there is something to count by. */
export function grpcTransport(options: GrpcChannelsOptions, metrics: ClientMetrics | undefined): GrpcTransport {
  const channels = new GrpcChannels(options);
  if (metrics === undefined) return new GrpcTransport(channels, options);
  return new (class extends GrpcTransport {
    override read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
      return counted("grpc", target, metrics, (counting) => super.read(address, request, counting, limits));
    }
  })(channels, options);
}

/** Makes the transport that reads from gateways, counted where there is something to count by. */
export function landingTransport(
  options: ConstructorParameters<typeof LandingTransport>[0],
  metrics: ClientMetrics | undefined,
): LandingTransport {
  if (metrics === undefined) return new LandingTransport(options);
  return new (class extends LandingTransport {
    override read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
      return counted("http", target, metrics, (counting) => super.read(address, request, counting, limits));
    }
  })(options);
}

async function counted(by: By, target: ReadTarget, metrics: ClientMetrics, read: Read): Promise<void> {
  let bytes = 0;
  const counting: ReadTarget = {
    open: (head: AnswerHead) => target.open(head),
    landed: (more) => {
      bytes += more;
      target.landed(more);
    },
  };
  try {
    await read(counting);
    metrics.part(by, bytes);
  } catch (error) {
    metrics.partFailed(by, error);
    throw error;
  }
}
