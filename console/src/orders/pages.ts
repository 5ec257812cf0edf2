/**
 * The list of a search, page by page.
 *
 * Each page begins where the page before ends, by its token. Only pages near the ones in view keep
 * their orders, so a list of any length takes bounded memory: a page that comes back into view is
 * read again.
 */

import { ANSWER_MS, errorOf, isLost, mayPass, queries, sleep, WAIT } from "../api.js";
import { pauses } from "../client/backoff.js";
import type { OrderlogError } from "../client/errors.js";
import type { Order } from "../client/gen/orders/v1/order_pb.js";
import { learn } from "../known.js";
import { Store } from "../store.js";
import { type FoundOrder, renewed } from "./highlights.js";
import type { SearchRequest } from "./search.js";

const PAGE_SIZE = 100;

/** The pages that keep their orders. */
const MAX_KEPT_PAGES = 12;

/** The least time between two reads of the pages in view. */
const REFRESH_MS = 400;

interface Page {
  token: string;
  /** The index of the first order in the list. */
  start: number;
  length: number;
  /** `undefined` after other pages took its place. */
  orders?: FoundOrder[];
  next: string;
}

export interface View {
  /** The number of orders that the list has rows for. */
  length: number;
  isComplete: boolean;
  isLoading: boolean;
  /** `undefined` until the first answer. */
  total?: bigint;
  isDegraded: boolean;
  error?: OrderlogError;
}

const NOTHING: View = { length: 0, isComplete: false, isLoading: true, isDegraded: false };

export class OrderPages {
  readonly view = new Store<View>(NOTHING);
  readonly #request: SearchRequest;
  readonly #stop = new AbortController();
  #pages: Page[] = [];
  #used: Page[] = [];
  /** The pages to read again. */
  #refreshing: Page[] = [];
  #reading = false;
  #minPosition: bigint;
  #isStale = false;
  #refreshed = 0;
  #range: [number, number] = [0, 0];

  constructor(request: SearchRequest, minPosition: bigint) {
    this.#request = request;
    this.#minPosition = minPosition;
    this.#pages = [{ token: "", start: 0, length: 0, next: "" }];
    void this.#work();
  }

  close(): void {
    this.#stop.abort();
  }

  /** Returns the order at an index, if its page is here. */
  at(index: number): FoundOrder | undefined {
    const page = this.#pageAt(index);
    return page?.orders?.[index - page.start];
  }

  /** Returns whether the order is among the rows that are here. */
  has(orderId: string): boolean {
    return this.#pages.some((page) => page.orders?.some(({ order }) => order.orderId === orderId));
  }

  /** Says which rows are in view, and reads the pages that they need. */
  show(first: number, last: number): void {
    this.#range = [first, last];
    void this.#work();
  }

  /** Takes a newer state of orders in the list, and reads the pages in view again. */
  changed(orders: Order[], position: bigint): void {
    if (position > this.#minPosition) this.#minPosition = position;
    const newer = new Map(orders.map((order) => [order.orderId, order]));
    let isHere = false;
    for (const page of this.#pages) {
      page.orders = page.orders?.map((found) => {
        const now = newer.get(found.order.orderId);
        isHere ||= now !== undefined;
        return now && now.position >= found.order.position ? renewed(found, now) : found;
      });
    }
    if (isHere) this.#publish({});
    this.#isStale = true;
    void this.#work();
  }

  retry(): void {
    this.#publish({ error: undefined });
    void this.#work();
  }

  #pageAt(index: number): Page | undefined {
    let [low, high] = [0, this.#pages.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#pages[middle]!.start <= index) low = middle;
      else high = middle - 1;
    }
    return this.#pages[low];
  }

  #publish(change: Partial<View>): void {
    const end = this.#pages.at(-1);
    const length = end ? end.start + end.length : 0;
    this.view.update((view) => ({ ...view, length, ...change }));
  }

  /** Reads what is missing, one page at a time, until nothing is. */
  async #work(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    const pause = pauses();
    while (!this.#stop.signal.aborted && !this.view.get().error) {
      const page = await this.#next();
      if (!page || this.#stop.signal.aborted) break;
      try {
        await this.#read(page);
      } catch (failed) {
        if (this.#stop.signal.aborted) break;
        const error = errorOf(failed);
        // A list that shows something keeps it, and tries again until the server answers.
        const isShown = this.view.get().total !== undefined;
        if (!mayPass(error) || (!isShown && !isLost(error)))
          this.#publish({ error, isLoading: false });
        else await sleep(Math.max(pause(), error.retryAfterMs ?? 0), this.#stop.signal);
      }
    }
    this.#reading = false;
  }

  /** Returns the page to read next. */
  async #next(): Promise<Page | undefined> {
    const [first, last] = this.#range;
    const from = this.#pages.indexOf(this.#pageAt(first)!);
    if (this.#isStale && this.view.get().total !== undefined) {
      const wait = this.#refreshed + REFRESH_MS - performance.now();
      if (wait > 0) await sleep(wait, this.#stop.signal);
      this.#isStale = false;
      this.#refreshed = performance.now();
      // The pages after those in view have other beginnings now, and are read when they are seen.
      const to = this.#pages.indexOf(this.#pageAt(last)!);
      this.#pages.length = to + 1;
      this.#refreshing = this.#pages.slice(from);
    }
    const again = this.#refreshing.shift();
    if (again) return again;
    const missing = this.#pages.slice(from).find((it) => !it.orders && it.start <= last);
    if (missing) return missing;
    const end = this.#pages.at(-1)!;
    if (!end.next || last < end.start + end.length - PAGE_SIZE / 2) return undefined;
    const next = { token: end.next, start: end.start + end.length, length: 0, next: "" };
    this.#pages.push(next);
    return next;
  }

  async #read(page: Page): Promise<void> {
    const answer = await queries.searchOrders(
      {
        ...this.#request,
        pageSize: PAGE_SIZE,
        pageToken: page.token,
        highlights: Boolean(this.#request.query),
        minPosition: this.#minPosition,
        maxWait: WAIT,
      },
      { signal: this.#stop.signal, timeoutMs: ANSWER_MS + 5_000 },
    );
    page.orders = answer.orders.map((order, index) => ({
      order,
      highlights: answer.highlights[index]?.highlights ?? [],
    }));
    learn(answer.orders);
    page.length = answer.orders.length;
    page.next = answer.nextPageToken;
    this.#join(this.#pages.indexOf(page));
    this.#keep(page);
    this.#publish({
      total: answer.totalSize,
      isDegraded: answer.degraded,
      isComplete: this.#pages.at(-1)!.next === "",
      isLoading: false,
    });
  }

  /** Lets the page after this one begin where this one ends now. */
  #join(index: number): void {
    const { start, length, next } = this.#pages[index]!;
    const after = this.#pages[index + 1];
    if (!after) return;
    after.start = start + length;
    if (after.token === next) return;
    if (!next) {
      this.#pages.length = index + 1;
      this.#refreshing = [];
      return;
    }
    after.token = next;
    if (after.orders && !this.#refreshing.includes(after)) this.#refreshing.unshift(after);
  }

  /** Keeps the orders of the pages that were read last. */
  #keep(page: Page): void {
    this.#used = [...this.#used.filter((it) => it !== page && this.#pages.includes(it)), page];
    while (this.#used.length > MAX_KEPT_PAGES) this.#used.shift()!.orders = undefined;
  }
}
