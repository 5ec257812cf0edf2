/** Ids that sort by time. */

/** Makes an id that sorts by time, because random ids make the log slower. */
export function uuid7(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const time = Date.now();
  new DataView(bytes.buffer).setUint16(0, Math.floor(time / 2 ** 32));
  new DataView(bytes.buffer).setUint32(2, time % 2 ** 32);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
