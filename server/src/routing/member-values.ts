import type { MemberInfo } from "@frontcache/proto";
import { callOf, type ValueMembers } from "../values/value-members.js";
import type { OtherMembers } from "./other-members.js";

/** Members of an earlier list that may have a value. */
const MOST_EARLIER = 4;

/** The other members, as values need them. */
export function valueMembers(others: OtherMembers): ValueMembers {
  const { self, view, connections, breaker } = others;
  return {
    self: self.name,
    get members() {
      return view.current.members;
    },
    get hash() {
      return view.current.hash;
    },
    ring: (url) => view.current.owners(url, 0),
    earlier: (url) => (view.changedRecently ? view.mayHave(url, 0).slice(0, MOST_EARLIER) : NOBODY),
    isUnreachable: ({ grpcAddress }) => breaker.isOpen(grpcAddress),
    call: async (member, step, signal, timeoutMs) => {
      const call = others.call("a value", signal, timeoutMs);
      const ask = (to: MemberInfo) => connections.values.callValues(to, callOf(self.name, step), call);
      try {
        return await others.first([member], ask, call);
      } finally {
        call.end();
      }
    },
    watch: async (member, request, onEvent, signal) => {
      const call = others.call("events of values", signal);
      await connections.values.watchValues(member, request, onEvent, call).finally(() => call.end());
    },
  };
}

const NOBODY: readonly MemberInfo[] = [];
