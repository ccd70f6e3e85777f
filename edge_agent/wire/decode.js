// Decoder of edge-agent's messages, version 2, written from FORMAT.md alone. No dependencies.
//
//   const decoder = new EdgeDecoder();          // remembers what later messages may refer to
//   decoder.learn(text);                        // the payload of edge/<node>/status: who is there, with which channels
//   const message = decoder.decode(bytes);      // bytes: Uint8Array or Buffer, the payload of any other topic
//   for (const row of EdgeDecoder.rows(message)) console.log(EdgeDecoder.toJson(row));
//
// In Node and Node-RED: const { EdgeDecoder } = require("./decode.js"). In a browser: <script src="decode.js">.
// Times are BigInt nanoseconds. Whatever is damaged, unknown or too large throws an EdgeFormatError.
"use strict";

class EdgeFormatError extends Error {}

const QUANTITIES = ["temperature_c", "humidity_pct", "pressure_pa", "co2_ppm", "illuminance_lx"];
const QUALITIES = ["good", "estimated", "suspect", "bad"];
const TIME_QUALITIES = ["none", "bounded", "holdover", "synced"];
const FLAGS = ["no_value", "out_of_range", "too_fast", "outlier", "time_backwards", "unsettled", "stuck"];
const FEATURES = [
  "count", "mean", "std", "min", "max", "slope_per_s",
  "time_weighted_mean", "median", "p05", "p95", "rms_difference", "share_good",
];
const CAPS = {
  message: 1 << 20, groups: 1024, columns: 64, rows: 65536, cells: 1 << 20, text: 256, array: 1024, map: 64,
  announcement: 1 << 15, channels: 4096,
};
const MOST_REMEMBERED = { batches: 64, senders: 256, announcements: 256 };
const UTF8 = new TextDecoder("utf-8", { fatal: true });

function check(right, what) {
  if (!right) throw new EdgeFormatError(what);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest >>> 0;
});

function crc32(bytes, start = 0) {
  let rest = ~start >>> 0;
  for (const byte of bytes) rest = CRC_TABLE[(rest ^ byte) & 0xff] ^ (rest >>> 8);
  return (rest ^ 0xffffffff) >>> 0;
}

function adler32(bytes) {
  let [a, b] = [1, 0];
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b * 65536 + a;
}

// ---- bytes, msgpack, varints

class Bytes {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  take(count) {
    check(this.at + count <= this.bytes.length, "the message ends too early");
    this.at += count;
    return this.at - count;
  }

  byte() {
    return this.bytes[this.take(1)];
  }

  slice(count) {
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        check(value < 1n << 64n, "a varint is larger than 64 bits");
        return value;
      }
    }
    throw new EdgeFormatError("a varint does not end");
  }

  signedVarint() {
    return unzigzag(this.varint());
  }

  count(most, what) {
    const value = this.varint();
    check(value <= BigInt(most), `too many ${what}`);
    return Number(value);
  }
}

// Integers of msgpack come as BigInt, texts as string, bin as Uint8Array.
function readMsgpack(input, depth = 0) {
  check(depth < 8, "arrays within arrays within arrays");
  const kind = input.byte();
  if (kind < 0x80) return BigInt(kind);
  if (kind >= 0xe0) return BigInt(kind - 0x100);
  if (kind < 0x90) return readMap(input, kind & 0x0f, depth);
  if (kind < 0xa0) return readArray(input, kind & 0x0f, depth);
  if (kind < 0xc0) return readText(input, kind & 0x1f);
  const view = input.view;
  switch (kind) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: return input.slice(input.byte());
    case 0xc5: return input.slice(view.getUint16(input.take(2)));
    case 0xc6: return input.slice(view.getUint32(input.take(4)));
    case 0xca: return view.getFloat32(input.take(4));
    case 0xcb: return view.getFloat64(input.take(8));
    case 0xcc: return BigInt(input.byte());
    case 0xcd: return BigInt(view.getUint16(input.take(2)));
    case 0xce: return BigInt(view.getUint32(input.take(4)));
    case 0xcf: return view.getBigUint64(input.take(8));
    case 0xd0: return BigInt(view.getInt8(input.take(1)));
    case 0xd1: return BigInt(view.getInt16(input.take(2)));
    case 0xd2: return BigInt(view.getInt32(input.take(4)));
    case 0xd3: return view.getBigInt64(input.take(8));
    case 0xd9: return readText(input, input.byte());
    case 0xda: return readText(input, view.getUint16(input.take(2)));
    case 0xdc: return readArray(input, view.getUint16(input.take(2)), depth);
    case 0xde: return readMap(input, view.getUint16(input.take(2)), depth);
    default: throw new EdgeFormatError(`msgpack type 0x${kind.toString(16)} does not occur here`);
  }
}

function readText(input, length) {
  check(length <= CAPS.text, "a text is too long");
  try {
    return UTF8.decode(input.slice(length));
  } catch (error) {
    if (error instanceof EdgeFormatError) throw error;
    throw new EdgeFormatError("a text is not UTF-8");
  }
}

function readArray(input, length, depth) {
  check(length <= CAPS.array, "an array is too long");
  return Array.from({ length }, () => readMsgpack(input, depth + 1));
}

function readMap(input, length, depth) {
  check(length <= CAPS.map, "a map is too long");
  return new Map(Array.from({ length }, () => [readMsgpack(input, depth + 1), readMsgpack(input, depth + 1)]));
}

const isInt = (field) => typeof field === "bigint";
const isText = (field) => typeof field === "string";
const isCount = (field) => isInt(field) && field >= 0n && field < 1n << 63n;
const isInt64 = (field) => isInt(field) && field >= -(1n << 63n) && field < 1n << 63n;
const int64 = (value) => BigInt.asIntN(64, value);
const unzigzag = (z) => int64(z & 1n ? -(z + 1n) / 2n : z / 2n);

function array(field, least, what) {
  check(Array.isArray(field) && field.length >= least, `${what} is not an array of at least ${least}`);
  return field;
}

// ---- section 7: integers. A head is read first; its runs are filled from the bit string; then it becomes numbers.

class Integers {
  constructor(heads, runs, n, canFollow = false) {
    this.n = n;
    this.divisor = 1n;
    this.remainder = 0n;
    if (n === 0) return;
    const head = heads.byte();
    this.predictor = head >> 5;
    if (this.predictor === 7) {
      this.divisor = 10n ** BigInt(head & 15) * (head & 16 ? 6n : 1n);
      this.origin = heads.signedVarint();
      this.slope = heads.signedVarint();
      return;
    }
    const coding = (head >> 3) & 3;
    let width = head & 7;
    if (width === 7) {
      width = heads.byte();
      const scaled = width & 0x80;
      width &= 0x7f;
      if (scaled) {
        const field = heads.varint();
        this.divisor = int64((field >> 5n) * 10n ** (field & 15n));
        if (field & 16n) this.remainder = int64(heads.varint());
      }
      this.scaled = Boolean(scaled);
    }
    check(coding < 3, "an unknown coding");
    check(width <= (coding === 0 ? 64 : 63), "codes are too wide");
    check(this.predictor !== 6 || (canFollow && !this.scaled), "there is nothing to follow");
    this.m = n - [0, 1, 1, 2, 0, 1, 0][this.predictor];
    check(this.m >= 1, "a block is too short for its predictor");
    if (this.predictor === 6) {
      this.gain = BigInt(heads.byte());
    } else {
      this.origin = heads.signedVarint();
      if ([2, 3, 4].includes(this.predictor)) this.slope = heads.signedVarint();
    }
    if (coding === 2) {
      const k = heads.count(this.m, "codes");
      const gapWidth = heads.byte();
      check(gapWidth <= 63, "gaps are too wide");
      this.gaps = run(runs, k, gapWidth, true);
      this.codes = run(runs, k, width, true);
    } else {
      this.codes = run(runs, this.m, width, coding === 1);
    }
  }

  // The numbers; `followed` are the raw ones that predictor 6 goes by.
  numbers(followed = null) {
    if (this.n === 0) return [];
    const y = this.predictor === 6 ? this.follow(followed) : this.predicted();
    return y.map((each) => int64(this.remainder + this.divisor * each));
  }

  differences() {
    if (!this.codes) return new Array(this.n).fill(0n);
    if (!this.gaps) return this.codes.values.map(unzigzag);
    const r = new Array(this.m).fill(0n);
    let at = -1n;
    this.gaps.values.forEach((gap, index) => {
      at += gap + 1n;
      check(at < BigInt(this.m), "a gap leads out of the block");
      r[Number(at)] = unzigzag(BigInt.asUintN(64, this.codes.values[index] + 1n));
    });
    return r;
  }

  predicted() {
    const r = this.differences();
    const { origin, slope, n } = this;
    const y = [0, 4, 7].includes(this.predictor) ? [] : [origin];
    let rise = slope;
    if (this.predictor === 3) y.push(int64(origin + rise));
    const u = (i) => (i < 0 ? 0n : int64(y[i] - origin));
    while (y.length < n) {
      const i = y.length;
      switch (this.predictor) {
        case 0: y.push(int64(origin + r[i])); break;
        case 1: y.push(int64(y[i - 1] + r[i - 1])); break;
        case 2: y.push(int64(y[i - 1] + slope + r[i - 1])); break;
        case 3:
          rise = int64(rise + r[i - 2]);
          y.push(int64(y[i - 1] + rise));
          break;
        case 4:
        case 7: y.push(int64(origin + BigInt(i) * slope + r[i])); break;
        default: y.push(int64(origin + ((u(i - 1) + u(i - 2) + u(i - 3) + u(i - 4) + 2n) >> 2n) + r[i - 1]));
      }
    }
    return y;
  }

  follow(s) {
    check(s.length === this.n, "values and raw values are not in step");
    const r = this.differences();
    const y = [];
    for (let i = 0; i < this.n; i++) {
      const b = i ? y[i - 1] : s[0];
      y.push(int64(b + (((s[i] - b) * this.gain + 128n) >> 8n) + r[i]));
    }
    return y;
  }
}

function run(runs, count, width, quotients) {
  const made = { count, width, quotients, values: [] };
  runs.push(made);
  return made;
}

// Section 6: low parts of all runs, then quotients of those that have them, then less than 8 zeros.
function fillRuns(runs, bytes) {
  let at = 0;
  const end = bytes.length * 8;
  const bit = () => {
    check(at < end, "the data end too early");
    const value = (bytes[at >> 3] >> (7 - (at & 7))) & 1;
    at++;
    return value;
  };
  const lows = runs.reduce((sum, each) => sum + each.count * each.width, 0);
  check(lows <= end, "the data end too early");
  for (const each of runs) {
    for (let i = 0; i < each.count; i++) {
      let low = 0n;
      for (let left = each.width; left > 0; left--) low = (low << 1n) | BigInt(bit());
      each.values.push(low);
    }
  }
  for (const each of runs) {
    for (let i = 0; each.quotients && i < each.count; i++) {
      let q = 0n;
      while (!bit()) q++;
      each.values[i] = BigInt.asUintN(64, (q << BigInt(each.width)) + each.values[i]);
    }
  }
  check(end - at < 8, "the data are too long");
  while (at < end) check(bit() === 0, "the data do not end in zeros");
}

// ---- section 8: columns

class Numbers {
  constructor(heads, runs, scale, n, canFollow = false) {
    check(scale <= 9 || scale === 15, "an unknown scale");
    this.scale = scale;
    this.n = n;
    if (scale < 15) {
      this.integers = new Integers(heads, runs, n, canFollow);
    } else if (n) {
      const how = heads.byte();
      check(how <= 1, "an unknown way to write doubles");
      if (how === 1) this.integers = new Integers(heads, runs, n);
      else this.doubles = Array.from({ length: n }, () => heads.view.getFloat64(heads.take(8), true));
    }
  }

  // Sets `k`, the integers of decimals, and returns the values. `last` is the value that a reference gives.
  values(last, followed) {
    if (this.n === 0) return [];
    if (this.doubles) return this.doubles;
    const whole = this.integers.numbers(followed);
    if (this.scale === 15) return whole.map(doubleOfBits);
    this.written = whole;
    const shift = shiftBy(last, this.scale);
    this.k = whole.map((each) => int64(each + shift));
    const divisor = 10 ** this.scale;
    return this.k.map((each) => Number(each) / divisor);
  }
}

function doubleOfBits(bits) {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigInt64(0, bits < 0n ? bits ^ 0x7fffffffffffffffn : bits);
  return view.getFloat64(0);
}

// v · 10^scale, rounded half to even; 0 where there is no such value or it is too large.
function shiftBy(last, scale) {
  if (last === undefined || last === null || !Number.isFinite(last)) return 0n;
  const scaled = last * 10 ** scale;
  if (Math.abs(scaled) >= 2 ** 53) return 0n;
  const below = Math.floor(scaled);
  const fraction = scaled - below;
  return BigInt(fraction > 0.5 || (fraction === 0.5 && below % 2 !== 0) ? below + 1 : below);
}

class Column {
  constructor(quantity, heads, runs, rows) {
    this.quantity = quantity;
    this.rows = rows;
    const head = heads.byte();
    const [hasExtras, raws, hasCells, scale] = [head >> 7, (head >> 5) & 3, (head >> 4) & 1, head & 15];
    this.how = raws;
    check(!(hasCells && rows === 0) && !(raws === 2 && scale === 15), "a column's head contradicts itself");
    if (hasCells) this.cells = new Integers(heads, runs, rows);
    const n = hasCells ? heads.count(rows, "numbers") : rows;
    if (raws === 3) {
      const rawHead = heads.byte();
      check(rawHead < 32, "a raw head with unknown bits");
      if (rawHead & 16) {
        check(rows > 0, "cells of no rows");
        this.rawCells = new Integers(heads, runs, rows);
      }
      this.raw = new Numbers(heads, runs, rawHead & 15, rawHead & 16 ? heads.count(rows, "numbers") : rows);
    } else if (raws === 2) {
      this.raw = new Numbers(heads, runs, scale, n);
    }
    const canFollow = raws >= 2 && this.raw.scale < 15 && this.raw.n === n;
    this.number = new Numbers(heads, runs, scale, n, canFollow);
    if (hasExtras) this.readExtras(heads, runs, scale === 15 || rows === 0, hasCells);
  }

  readExtras(heads, runs, cannotCompute, hasCells) {
    const extra = heads.byte();
    this.way = extra & 7;
    check(extra < 16 && this.way <= 4, "features of an unknown kind");
    check(!(this.way === 0 && (cannotCompute || hasCells)), "features that cannot be had");
    check(!(this.way === 2 && cannotCompute), "features that cannot be had");
    if (this.way === 1 || this.way === 3) {
      const names = this.way === 1 ? FEATURES.slice(0, 6) : FEATURES;
      const at = heads.take(4 * names.length);
      const numbers = names.map((name, index) => [name, heads.view[index ? "getFloat32" : "getUint32"](at + 4 * index, true)]);
      this.features = Object.fromEntries(numbers);
    }
    if (extra & 8) {
      check(this.rows > 0, "sigmas of no rows");
      this.sigma = new Integers(heads, runs, this.rows);
    }
  }

  decode(timesNs, last) {
    const statuses = [];
    const present = [];
    for (const cell of this.cells ? this.cells.numbers() : new Array(this.rows).fill(0n)) {
      check(cell >= 0n && cell <= 131073n, "an impossible status");
      const status = cell === 0n ? 0 : cell === 1n ? null : Number((cell - 2n) >> 1n);
      statuses.push(status);
      present.push(cell === 0n || (cell > 1n && (cell & 1n) === 0n));
    }
    const raws = this.raw ? this.raw.values(last, null) : null;
    const values = this.number.values(last, this.raw ? this.raw.written : null);
    const rawPresent = this.rawCells ? this.rawCells.numbers().map(isPresent) : this.how === 3 ? new Array(this.rows).fill(true) : present;
    const made = { quantity: this.quantity, statuses, values: spread(values, present), raws: null, features: null, sigmas: null };
    if (this.how === 1) made.raws = made.values;
    else if (raws) made.raws = spread(raws, rawPresent);
    if (this.features) made.features = this.features;
    else if (this.way === 0) made.features = this.compute(this.number.k, timesNs);
    else if (this.way === 2) made.features = this.computeInFull(timesNs, statuses, present);
    if (this.sigma) made.sigmas = this.sigma.numbers().map((code, row) => sigmaOf(code, statuses[row]));
    return made;
  }

  compute(k, t) {
    const n = BigInt(k.length);
    const since = t.map((each) => each - t[0]);
    const u = since.reduce(gcd, 0n) || 1n;
    let [S, Q, A, B, X] = [0n, 0n, 0n, 0n, 0n];
    k.forEach((each, i) => {
      const d = each - k[0];
      const a = since[i] / u;
      S += d; Q += d * d; A += a; B += a * a; X += a * d;
    });
    const w = n * B - A * A || 1n;
    const scale = 10 ** this.number.scale;
    const bottom = Number(n * 10n ** BigInt(this.number.scale));
    const [least, greatest] = k.reduce(([low, high], each) => [each < low ? each : low, each > high ? each : high], [k[0], k[0]]);
    return {
      count: k.length,
      mean: Math.fround(Number(n * k[0] + S) / bottom),
      std: Math.fround(Math.sqrt(Number(n * Q - S * S)) / bottom),
      min: Math.fround(Number(least) / scale),
      max: Math.fround(Number(greatest) / scale),
      slope_per_s: Math.fround((Number(n * X - A * S) / Number(w) / scale) * (1e9 / Number(u))),
    };
  }

  computeInFull(timesNs, statuses, present) {
    const rows = statuses.map((_, row) => row);
    const numbered = rows.filter((row) => present[row]);
    const integers = new Map(numbered.map((row, index) => [row, this.number.k[index]]));
    const counting = numbered.filter((row) => (statuses[row] & 3) !== 3);
    check(counting.length > 0, "features of no number");
    counting.sort((one, other) => (timesNs[one] < timesNs[other] ? -1 : timesNs[one] > timesNs[other] ? 1 : one - other));
    const [k, t] = [counting.map((row) => integers.get(row)), counting.map((row) => timesNs[row])];
    const n = k.length;
    const scale = 10 ** this.number.scale;
    const made = this.compute(k, t);
    const u = t.reduce((divisor, each) => gcd(divisor, each - t[0]), 0n) || 1n;
    let [W, R] = [0n, 0n];
    for (let i = 1; i < n; i++) {
      W += ((t[i] - t[i - 1]) / u) * (k[i] - k[0] + k[i - 1] - k[0]);
      R += (k[i] - k[i - 1]) ** 2n;
    }
    const span = (t[n - 1] - t[0]) / u;
    const ranked = [...k].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0));
    const percentile = (percent) => {
      const low = Math.floor(((n - 1) * percent) / 100);
      const rest = BigInt((n - 1) * percent - 100 * low);
      const sum = (100n - rest) * ranked[low] + rest * ranked[Math.min(low + 1, n - 1)];
      return Math.fround(Number(sum) / (100 * scale));
    };
    const good = numbered.filter((row) => (statuses[row] & 3) === 0).length;
    return Object.assign(made, {
      time_weighted_mean: span ? Math.fround((Number(k[0]) + Number(W) / Number(2n * span)) / scale) : made.mean,
      median: percentile(50),
      p05: percentile(5),
      p95: percentile(95),
      rms_difference: Math.fround(Math.sqrt(Number(R) / Math.max(n - 1, 1)) / scale),
      share_good: Math.fround(good / statuses.filter((status) => status !== null).length),
    });
  }
}

function sigmaOf(code, status) {
  check(code >= 0n && code <= 1280n, "a sigma out of range");
  return code === 0n || status === null ? null : Number((2 ** ((Number(code) - 640) / 16)).toPrecision(3));
}

function isPresent(cell) {
  check(cell === 0n || cell === 1n, "an impossible cell");
  return cell === 0n;
}

function spread(numbers, present) {
  let next = 0;
  const spreadOut = present.map((has) => (has ? numbers[next++] : null));
  check(next === numbers.length, "numbers and cells do not fit");
  return spreadOut;
}

function gcd(a, b) {
  if (b < 0n) b = -b;
  while (b) [a, b] = [b, a % b];
  return a;
}

// ---- sections 1 to 5, and 9

class EdgeDecoder {
  constructor() {
    this.announcements = new Map();
    this.senders = new Map();
  }

  // Learn what a status message announces. Takes its payload, or the object in it; returns the id, or null without one.
  learn(status) {
    let told = status;
    try {
      if (status instanceof Uint8Array) told = JSON.parse(UTF8.decode(status));
      else if (isText(status)) told = JSON.parse(status);
    } catch {
      throw new EdgeFormatError("a status message is not JSON");
    }
    const text = told?.announcement;
    if (text === undefined || text === null) return null;
    check(isText(text) && text.length <= 2 * CAPS.announcement, "an announcement is not a text of that length");
    let binary;
    try {
      binary = atob(text);
    } catch {
      throw new EdgeFormatError("an announcement is not base64");
    }
    return this.announce(Uint8Array.from(binary, (each) => each.charCodeAt(0)));
  }

  announce(packed) {
    const announcement = readAnnouncement(packed);
    this.announcements.delete(announcement.id);
    this.announcements.set(announcement.id, announcement);
    if (this.announcements.size > MOST_REMEMBERED.announcements) forgetOldest(this.announcements);
    return announcement.id;
  }

  decode(payload) {
    const bytes = payload instanceof Uint8Array ? payload : new Uint8Array(payload);
    check(bytes.length <= CAPS.message, "the message is too long");
    check(bytes.length >= 6, "the message ends too early");
    check(bytes[0] === 2, `version ${bytes[0]} is not known here`);
    const end = bytes.length - 4;
    const checksum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(end);
    const isRight = (start) => check(crc32(bytes.subarray(0, end), start) === checksum, "the message is damaged");
    if (bytes[1] >= 0xc4 && bytes[1] <= 0xc6) {
      const input = new Bytes(bytes.subarray(1, end));
      const content = readMsgpack(input);
      check(input.at === end - 1, "something follows the message");
      return this.readAnnounced(new Bytes(content), isRight);
    }
    isRight(0);
    const input = new Bytes(bytes.subarray(1, end));
    const [first, node, epoch, seq, boot, offsetNs, body, taught = null, rows = null] =
      array(readMsgpack(input), 7, "the envelope");
    check(input.at === end - 1, "something follows the message");
    check(isInt(first) && first >= 0n && first < 16n, "an unknown kind");
    check(isCount(epoch) && isCount(seq) && isCount(boot) && isInt64(offsetNs), "the envelope is wrong");
    const kind = Number(first & 3n);
    const message = { node, epoch, seq, boot, offsetNs, timeQuality: TIME_QUALITIES[Number(first >> 2n)] };
    check(kind < 3 && isText(node), "an unknown kind, or no node");
    check(taught === null || taught instanceof Uint8Array, "what is announced is no bin");
    if (kind === 1) message.event = readEvent(body);
    else if (kind === 2) message.tombstone = readTombstone(body);
    else this.readBatch(message, body);
    message.rows = rows === null ? null : readRows(rows, kind, message.groups);
    if (taught) this.announce(taught);
    return message;
  }

  readAnnounced(input, isRight) {
    const id = input.view.getUint32(input.take(4));
    const told = this.announcements.get(id);
    check(told, `announcement ${id.toString(16).padStart(8, "0")} is not known: wait for a status message`);
    isRight(told.seed);
    const message = { node: told.node, epoch: told.epoch, seq: input.varint(), boot: told.boot };
    const form = input.byte();
    check(form < 64, "a batch in an unknown form");
    if (form & 1) message.epoch = input.varint();
    let quality = told.quality;
    if (form & 2) [message.boot, quality] = [input.varint(), input.count(3, "time qualities")];
    check(isCount(message.epoch) && isCount(message.seq) && isCount(message.boot), "the envelope is wrong");
    message.offsetNs = int64(told.offsetNs + (form & 4 ? input.signedVarint() : 0n) * told.stepNs);
    message.timeQuality = TIME_QUALITIES[quality];
    const reference = form & 8 ? int64(message.seq - input.signedVarint()) : null;
    const bits = form & 16 ? input.slice(Math.ceil(told.channels / 8)) : null;
    let place = 0;
    const isChosen = () => (bits ? (bits[place >> 3] >> (place++ & 7)) & 1 : true);
    const chosen = told.sensors.map(({ sensor, quantities }) => ({ sensor, quantities: quantities.filter(isChosen) }));
    for (; bits && place < 8 * bits.length; place++) check(!((bits[place >> 3] >> (place & 7)) & 1), "too many columns");
    const groups = chosen.filter(({ quantities }) => quantities.length);
    for (const group of groups) group.extent = form & 32 ? input.signedVarint() : input.varint();
    this.readGroups(message, groups, input.bytes.subarray(input.at), reference);
    return message;
  }

  readBatch(message, body) {
    const [listed, data, reference = null] = array(body, 2, "the body");
    array(listed, 0, "the list of groups");
    check(data instanceof Uint8Array, "the data are no bin");
    this.readGroups(message, listed.map(readGroup), data, reference);
  }

  readGroups(message, groups, data, reference) {
    check(groups.length <= CAPS.groups, "too many groups");
    const earlier = this.earlier(message, reference);
    const heads = new Bytes(data);
    const runs = [];
    let cells = 0;
    groups.forEach((group, number) => {
      if (group.extent < 0n) {
        const shared = -1n - group.extent;
        check(shared < BigInt(number), "a group shares times with one that does not stand before it");
        group.shared = groups[Number(shared)];
        group.rows = group.shared.rows;
      } else {
        check(group.extent <= BigInt(CAPS.rows), "too many rows");
        group.rows = Number(group.extent);
        if (group.rows) group.stamps = new Integers(heads, runs, group.rows);
      }
      check(group.quantities.length <= CAPS.columns, "too many columns");
      cells += group.rows * Math.max(1, group.quantities.length);
      check(cells <= CAPS.cells, "too many cells");
      group.columns = group.quantities.map((quantity) => new Column(quantity, heads, runs, group.rows));
    });
    fillRuns(runs, heads.bytes.subarray(heads.at));
    let base = earlier ? earlier.lastStamp : null;
    const always = base !== null;
    message.groups = groups.map((group) => {
      if (group.shared) {
        group.timesNs = group.shared.timesNs;
      } else {
        const written = group.stamps ? group.stamps.numbers() : [];
        group.timesNs = base === null ? written : written.map((each) => int64(each + base));
        if (!always && base === null && group.timesNs.length) base = group.timesNs[0];
      }
      const columns = group.columns.map((column) =>
        column.decode(group.timesNs, earlier && earlier.numbers.get(JSON.stringify([group.sensor, column.quantity]))));
      return { sensor: group.sensor, timesNs: group.timesNs, columns };
    });
    this.remember(message);
  }

  earlier(message, reference) {
    if (reference === null) return null;
    check(isCount(reference), "the reference is wrong");
    const found = this.senders.get(`${message.node}/${message.epoch}`)?.get(reference);
    check(found, `batch ${reference}, which this one refers to, is not known`);
    return found;
  }

  // Of a batch only what a reference needs: its last stamp, and the last number of each column.
  remember(message) {
    const sender = `${message.node}/${message.epoch}`;
    const batches = this.senders.get(sender) ?? new Map();
    this.senders.delete(sender);
    this.senders.set(sender, batches);
    batches.set(message.seq, lastOf(message.groups));
    if (batches.size > MOST_REMEMBERED.batches) forgetOldest(batches);
    if (this.senders.size > MOST_REMEMBERED.senders) forgetOldest(this.senders);
  }

  // ---- the same objects as `edge-agent decode` prints

  static *rows(message) {
    const identity = { node: message.node, epoch: message.epoch, seq: message.seq };
    const at = (stamp) => stamp + message.offsetNs;
    if (message.event) {
      const { kind, bootNs, subject, state, cause, errno, severity, fix } = message.event;
      const more = Object.entries({ errno, severity, fix }).filter(([, value]) => value !== null);
      const reason = Object.fromEntries(more);
      const when = { t: isoUtc(at(bootNs)), t_ns: at(bootNs), t_quality: message.timeQuality };
      yield { kind: "event", ...identity, event: kind, subject, state, cause, ...reason, ...when };
    } else if (message.tombstone) {
      const { firstNs, lastNs, epoch, ...told } = message.tombstone;
      const covered = epoch === null ? {} : { of_epoch: epoch };
      const span = { t_from: isoUtc(at(firstNs)), t_to: isoUtc(at(lastNs)), t_quality: message.timeQuality };
      yield { kind: "tombstone", ...identity, ...covered, ...told, ...span };
    } else {
      let row = 0;
      for (const group of message.groups) {
        yield* readings(message, identity, group, at, row);
        row += group.timesNs.length;
      }
      for (const group of message.groups) yield* windows(identity, group, at);
    }
  }

  static toJson(item) {
    if (typeof item === "bigint") return item.toString();
    if (Array.isArray(item)) return `[${item.map(EdgeDecoder.toJson).join(", ")}]`;
    if (item !== null && typeof item === "object") {
      return `{${Object.entries(item).map(([key, value]) => `${JSON.stringify(key)}: ${EdgeDecoder.toJson(value)}`).join(", ")}}`;
    }
    // Readers that know integers must not take a rounded double for an exact one.
    if (typeof item === "number" && Math.abs(item) >= 2 ** 53) return item.toExponential();
    return Object.is(item, -0) ? "-0.0" : JSON.stringify(item);
  }
}

function forgetOldest(map) {
  map.delete(map.keys().next().value);
}

function readAnnouncement(packed) {
  check(packed.length <= CAPS.announcement, "an announcement is too long");
  const input = new Bytes(packed);
  const [node, epoch, boot, offsetNs, quality, stepNs, listed] = array(readMsgpack(input), 7, "an announcement");
  check(input.at === packed.length, "something follows an announcement");
  check(isText(node) && isCount(epoch) && isCount(boot) && isInt64(offsetNs), "an announcement is wrong");
  check(isCount(quality) && quality < 4n && isCount(stepNs) && stepNs > 0n, "an announcement without time");
  const sensors = array(listed, 0, "the list of sensors").map((entry) => {
    const [sensor, quantities] = array(entry, 2, "a sensor");
    check(isText(sensor), "a sensor without a name");
    return { sensor, quantities: readQuantities(quantities) };
  });
  const channels = sensors.reduce((sum, { quantities }) => sum + quantities.length, 0);
  check(channels <= CAPS.channels, "too many channels");
  const [id, seed] = [crc32(packed), adler32(packed)];
  return { id, seed, node, epoch, boot, offsetNs, quality: Number(quality), stepNs, sensors, channels };
}

function readGroup(field) {
  const [sensor, extent, listed] = array(field, 3, "a group");
  check(isText(sensor) && isInt(extent), "a group without a name or an extent");
  return { sensor, extent, quantities: readQuantities(listed) };
}

function readQuantities(listed) {
  const quantities = isCount(listed)
    ? Array.from({ length: 63 }, (_, code) => code).filter((code) => (listed >> BigInt(code)) & 1n).map(quantityOf)
    : array(listed, 0, "the list of quantities").map((each) => (isText(each) ? each : quantityOf(each)));
  check(quantities.length <= CAPS.columns, "too many columns");
  return quantities;
}

function quantityOf(code) {
  check(typeof code === "number" || isCount(code), "a quantity is neither a code nor a name");
  return QUANTITIES[Number(code)] ?? `quantity_${code}`;
}

// Which rows of its batch a message holds: first, first + step, … of total, counted over the groups in their order, and
// then those of further ranges.
function readRows(field, kind, groups) {
  const parts = array(field, 4, "the rows");
  const numbers = parts.slice(0, 4);
  check(kind === 0 && numbers.every(isCount), "the rows are of an unknown shape");
  const [total, first, step, count] = numbers.map(Number);
  check(total > 0 && total <= CAPS.cells && first < total && step > 0 && step <= CAPS.cells, "the rows are impossible");
  check(count > 0 && first + (count - 1) * step < total, "there are more rows than the batch has");
  const held = Array.from({ length: count }, (_, i) => first + i * step);
  const ranges = (parts[4] ?? null) === null ? [] : array(parts[4], 1, "ranges of rows").map(readRowRange);
  for (const [from, last, by] of ranges.map((range) => range.map(Number))) {
    check(from > held[held.length - 1] && last < total, "the rows do not ascend");
    for (let row = from; row <= last; row += by) held.push(row);
  }
  check(groups.reduce((sum, { timesNs }) => sum + timesNs.length, 0) === held.length, "the rows are others than it says");
  return { total, first, step, count, held };
}

function readEvent(body) {
  const [kind, bootNs, subject, state, cause, errno = null, severity = null, numbers = null] =
    array(body, 5, "an event");
  check([kind, subject, state, cause].every(isText) && isInt64(bootNs), "an event of an unknown shape");
  check(errno === null || isInt64(errno), "an errno is no number");
  check(severity === null || isText(severity), "a severity is no text");
  return { kind, bootNs, subject, state, cause, errno, severity, fix: numbers === null ? null : readFix(numbers) };
}

function readFix(field) {
  const [boot, from_ns, to_ns, old_offset_ns, new_offset_ns] = array(field, 5, "a time-fix");
  check(isCount(boot) && [from_ns, to_ns, old_offset_ns, new_offset_ns].every(isInt64), "a time-fix is no numbers");
  check(from_ns <= to_ns, "a time-fix ends before it begins");
  return { boot, from_ns, to_ns, old_offset_ns, new_offset_ns };
}

function readTombstone(body) {
  const [first_seq, last_seq, records, readings, reason, firstNs, lastNs, epoch = null, dropped = null] =
    array(body, 7, "a tombstone");
  check([first_seq, records, readings].every(isCount) && isText(reason), "a tombstone of an unknown shape");
  check(last_seq === null || (isCount(last_seq) && last_seq >= first_seq), "a tombstone ends before it begins");
  check(dropped === null || first_seq === last_seq, "rows of more than one record cannot be dropped at once");
  check(isInt64(firstNs) && isInt64(lastNs), "a tombstone without times");
  check(epoch === null || isCount(epoch), "a tombstone of an unknown epoch");
  const rows = dropped === null ? null : array(dropped, 1, "the dropped rows").map(readRowRange);
  return { first_seq, last_seq, records, readings, reason, ...(rows ? { rows } : {}), firstNs, lastNs, epoch };
}

function readRowRange(field) {
  const [first, last, step = 1n] = array(field, 2, "a range of rows");
  check([first, last, step].every(isCount) && first <= last && step > 0n, "a range of rows is impossible");
  check(Number(last) < CAPS.cells && Number(step) <= CAPS.cells, "a range of rows is impossible");
  return [first, last, step];
}

function lastOf(groups) {
  const filled = groups.find((group) => group.timesNs.length);
  const numbers = new Map();
  for (const { sensor, columns } of groups) {
    for (const { quantity, values } of columns) {
      const number = lastNumber(values);
      if (number !== null && Number.isFinite(number)) numbers.set(JSON.stringify([sensor, quantity]), number);
    }
  }
  return { lastStamp: filled ? filled.timesNs[filled.timesNs.length - 1] : null, numbers };
}

function lastNumber(values) {
  for (let i = values.length - 1; i >= 0; i--) if (values[i] !== null) return values[i];
  return null;
}

const finite = (number) => (number !== null && Number.isFinite(number) ? number : null);

function* readings(message, identity, group, at, before) {
  const { rows } = message;
  for (const { quantity, values, raws, sigmas, statuses } of group.columns) {
    for (let i = 0; i < statuses.length; i++) {
      if (statuses[i] === null) continue;
      const tNs = at(group.timesNs[i]);
      yield {
        ...identity, ...(rows ? { row: rows.held[before + i] } : {}), sensor: group.sensor, quantity,
        t: isoUtc(tNs), t_ns: tNs, t_quality: message.timeQuality,
        value: finite(values[i]), raw: raws ? finite(raws[i]) : null,
        ...(sigmas ? { sigma: sigmas[i] } : {}),
        quality: QUALITIES[statuses[i] & 3],
        flags: FLAGS.filter((_, bit) => (statuses[i] >> 2) & (1 << bit)),
      };
    }
  }
}

function* windows(identity, group, at) {
  const [first, last] = group.timesNs.reduce(
    ([low, high], each) => [low === null || each < low ? each : low, high === null || each > high ? each : high], [null, null]);
  const span = { t_from: first === null ? null : isoUtc(at(first)), t_to: last === null ? null : isoUtc(at(last)) };
  for (const { quantity, features } of group.columns) {
    if (!features) continue;
    const told = { ...features };
    if ("median" in features) told.range = features.max - features.min;
    const numbers = Object.fromEntries(Object.entries(told).map(([name, value]) => [name, finite(value)]));
    yield { kind: "features", ...identity, sensor: group.sensor, quantity, ...span, ...numbers };
  }
}

function isoUtc(wallNs) {
  const second = 1000000000n;
  let fraction = wallNs % second;
  if (fraction < 0n) fraction += second;
  const moment = new Date(Number((wallNs - fraction) / 1000000n)).toISOString().slice(0, 19);
  return `${moment}.${fraction.toString().padStart(9, "0").replace(/0+$/, "").padEnd(3, "0")}Z`;
}

if (typeof module !== "undefined") module.exports = { EdgeDecoder, EdgeFormatError, crc32, adler32 };
