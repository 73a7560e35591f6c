export * from "./access-key-token.js";
export * from "./block-file.js";
export * from "./block-footer.js";
export * from "./blocks.js";
export * from "./channel-options.js";
export * from "./entity-tag.js";
export * from "./errors.js";
export {
  AbortUploadResponse,
  BeginUploadRequest,
  BeginUploadResponse,
  CacheServiceDefinition,
  DeleteValueResponse,
  EvictRequest,
  EvictResponse,
  FinalizeUploadRequest,
  GetValueRequest,
  GetValueResponse,
  HandedOverRecord,
  HandOverRequest,
  HandOverResponse,
  ListValuesRequest,
  ListValuesResponse,
  LockValueRequest,
  LockValueResponse,
  LookUpRecordsRequest,
  LookUpRecordsResponse,
  LookupOwnerRequest,
  LookupOwnerResponse,
  LookupOwnersResponse,
  Member,
  MemberList,
  type MessageFns,
  MonitoredEvent,
  MonitorValuesRequest,
  ObjectHeader,
  ObjectRecord,
  PutValueRequest,
  ReadRangeRequest,
  ReadRangeResponse,
  RecordAnswer,
  RecordQuestion,
  RenewLeasesRequest,
  RenewLeasesResponse,
  RouterServiceDefinition,
  StatRequest,
  StatResponse,
  TouchedBlock,
  TouchRequest,
  TouchResponse,
  UnlockValueRequest,
  UnlockValueResponse,
  UploadCompletion,
  Value,
  ValueAnswer,
  ValueCall,
  ValueEntry,
  ValueEventMessage,
  ValueMissed,
  ValueRequest,
  ValueServiceDefinition,
  VersionChangedRequest,
  VersionChangedResponse,
  WarmBlock,
  WarmProgress,
  WarmRequest,
  WatchMembersRequest,
  WatchValuesRequest,
  WriteRangeRequest,
} from "./gen/cache.js";
export * from "./http-headers.js";
export * from "./listen-addresses.js";
export * from "./members.js";
export * from "./object-headers.js";
export * from "./object-info.js";
export * from "./object-url.js";
export * from "./read-range-codec.js";
export * from "./request-codec.js";
export * from "./ring.js";
export * from "./value-block.js";
export * from "./value-headers.js";
export * from "./value-messages.js";
export * from "./values.js";
