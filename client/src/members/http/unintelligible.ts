import { CacheError } from "@frontcache/proto";

/**
 * What came is no answer of a member's gateway: it breaks HTTP/1.1, says something that no gateway says, or leaves out what
 * each one says. Who sent it is nobody to read from by HTTP.
 */
export class Unintelligible extends CacheError {
  constructor(message: string) {
    super("INTERNAL", message);
  }
}
