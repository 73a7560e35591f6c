import type {
  HandedOverRecord,
  HandOverRequest,
  HandOverResponse,
  LookUpRecordsRequest,
  LookUpRecordsResponse,
  RenewLeasesRequest,
  RenewLeasesResponse,
  VersionChangedRequest,
  VersionChangedResponse,
} from "@frontcache/proto";
import type { ObjectService } from "../../objects/object-answers.js";
import type { FailureCount } from "../../security/failure-count.js";
import { requireMember, requireMemberNamed } from "../../security/member-authentication.js";
import { streamingCall } from "./streaming-call.js";
import { type CallContext, type UnaryCallOptions, unaryCall } from "./unary-call.js";

export interface ObjectServiceOptions extends UnaryCallOptions {
  /** Throws UNAVAILABLE while the member starts. */
  readonly objects: () => ObjectService;
  /** Requests of members' kind that others made. */
  readonly refusals: FailureCount;
}

/** The handlers of the calls by which members agree about objects. They are refused to everybody else. */
export function objectServiceHandlers(options: ObjectServiceOptions) {
  const { objects, refusals } = options;
  /** Who is asked on behalf of a member that names itself. */
  const named = (what: string, { name }: { readonly name: string }, { principal, peer: client }: CallContext): ObjectService => {
    requireMemberNamed(name, { what, principal, listener: "grpc", client }, refusals);
    return objects();
  };
  return {
    lookUpRecords: streamingCall<LookUpRecordsRequest, LookUpRecordsResponse>(
      "LookUpRecords",
      (request, send, context) => {
        const report = (answers: LookUpRecordsResponse["answers"]): void => void send({ answers });
        return named("LookUpRecords", request, context).lookUp(request, report, context.signal);
      },
      options,
    ),
    renewLeases: unaryCall<RenewLeasesRequest, RenewLeasesResponse>(
      "RenewLeases",
      (request, context) => named("RenewLeases", request, context).renew(request),
      options,
    ),
    versionChanged: unaryCall<VersionChangedRequest, VersionChangedResponse>(
      "VersionChanged",
      ({ keys }, { principal, peer: client }) => {
        requireMember({ what: "VersionChanged", principal, listener: "grpc", client }, refusals);
        objects().versionChanged(keys);
        return {};
      },
      options,
    ),
    handOver: streamingCall<HandOverRequest, HandOverResponse>(
      "HandOver",
      async (request, send, context) => {
        const sendRecords = (records: HandedOverRecord[]): Promise<void> => send({ records, confirmed: false });
        const confirmed = await named("HandOver", request, context).handOver(request, sendRecords);
        await send({ records: [], confirmed });
      },
      options,
    ),
  };
}
