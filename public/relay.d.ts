/**
 * The client of Parley, for pages and scripts. Problems are those of https://datatracker.ietf.org/doc/html/rfc9457.
 *
 * It runs in Chrome and Edge 100, Firefox 105, Safari 16, and what is newer.
 */

/** Any JSON value, as `JSON.parse` returns it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Options of both sides. */
export interface RelayOptions {
  /** The URL of the relay, with http or https. By default the URL from which the module was imported. */
  relay?: string | URL;
  /** Parses JSON, for example without rounding big integers. By default, and if it throws, `JSON.parse`. */
  parse?: (text: string) => any;
}

/** What guests and agents see of a tool, in the words of the Model Context Protocol (MCP). */
export interface ToolDefinition {
  /** 1 to 128 letters, digits or `_ . -`. No other tool of the session has it. */
  name: string;
  title?: string;
  /** What the tool does, for the agent that chooses among tools. */
  description?: string;
  /** A JSON Schema of the arguments, which are an object. Nobody checks them against it but the tool itself. */
  inputSchema?: object;
  /** A JSON Schema of the result's `structuredContent`. */
  outputSchema?: object;
  /** Hints for the agent, such as `{ readOnlyHint: true }`. */
  annotations?: object;
  /** What clients of MCP may understand beyond that. */
  _meta?: object;
}

/** A program that calls tools, as it names itself: nobody has proved it. */
export interface AgentClient {
  readonly name: string;
  readonly version?: string;
}

export interface ToolContext {
  /** Aborted when the guest withdraws the request, an agent cancels the call for example, or when the session ends. */
  readonly signal: AbortSignal;
  /** The id of the request that the call is. */
  readonly id: string;
  /** The agent's program, if it has said who it is. */
  readonly client?: AgentClient;
  /**
   * Report how far the tool is, as often as it likes: at most two reports a second are sent, and always the last. It
   * never throws.
   */
  progress(done: number, total?: number | null, message?: string): void;
}

/** How far the work on a request is. */
export interface ProgressReport {
  /** Greater in each report. */
  progress: number;
  /** What `progress` will be at the end, if that is known. */
  total?: number;
  message?: string;
}

/** A tool. It has the form that `document.modelContext.registerTool` takes, too. */
export interface Tool<Arguments = any> extends ToolDefinition {
  /**
   * Called once for each call, without waiting for other calls. It returns, or resolves to, a text, any JSON value, a
   * `CallToolResult`, or nothing. What it throws becomes a result with `isError` and a text, and so does a result that
   * JSON cannot say: one with a Map, a DOM node or NaN in it, for example.
   */
  execute(args: Arguments, context: ToolContext): unknown;
}

/** A part of a tool's result, such as `{ type: "text", text }` or `{ type: "image", data, mimeType }` (in Base64). */
export interface ContentBlock {
  type: string;
  [member: string]: any;
}

/** The result of a tool. */
export interface CallToolResult {
  content: ContentBlock[];
  /** The result as JSON, of which `content` has a copy as text. */
  structuredContent?: any;
  /** True if the tool has failed; then `content` tells why. */
  isError?: boolean;
  _meta?: object;
}

/**
 * `document.modelContext` of a browser that has WebMCP, https://webmachinelearning.github.io/webmcp/, as far as it is
 * used here.
 */
export interface ModelContext extends EventTarget {
  getTools(): Promise<readonly ToolDefinition[]>;
  executeTool(tool: any, input: any, options?: { signal?: AbortSignal }): Promise<any>;
}

export interface ToolCall {
  readonly name: string;
  readonly arguments: any;
  /** The agent's program, if it has said who it is. */
  readonly client?: AgentClient;
}

/** A request of a guest. */
export interface HostRequest<Payload = any> {
  /** The id that the guest has chosen, or else the relay. */
  readonly id: string;
  readonly payload: Payload;
  /** The tool call that the payload is: `{"method":"tools/call","params":{"name":…,"arguments":…}}`. Otherwise null. */
  readonly call: ToolCall | null;
  /** When the relay accepted the request: ISO 8601, UTC. */
  readonly createdAt: string;
  /** True if the page was reloaded or left between the start of the request's handler and its answer. */
  readonly interrupted: boolean;
  /** Aborted when the guest withdraws the request (its `reason` has the code `withdrawn`), or the session ends. */
  readonly signal: AbortSignal;
}

/** A call that somebody is asked to allow. */
export interface ApprovalCall extends ToolCall {
  readonly tool: ToolDefinition;
  /** Aborted when the answer is not needed any more: the agent has given up, or two minutes are over. */
  readonly signal: AbortSignal;
}

/** `once` allows the call, `tool` allows all calls of the tool until the page closes, anything else denies the call. */
export type ApprovalAnswer = "once" | "tool" | "deny";

/** Asks the person whether a call may run. No answer within two minutes is a denial. */
export type Ask = (call: ApprovalCall) => ApprovalAnswer | Promise<ApprovalAnswer>;

/**
 * Which calls of tools need the person's approval: `never` any, the `first` of each tool, `each` call, or `writes`:
 * tools with `readOnlyHint` run, those with `destructiveHint` or `consequentialHint` need it each time, others for the
 * first call. Or a function that says whether a call may run.
 */
export type Approve = "never" | "first" | "writes" | "each" | ((call: ApprovalCall) => boolean | Promise<boolean>);

/** Handles a request. What it returns or resolves to is the result; what it throws or rejects with is the error. */
export type Handler<Payload = any> = (request: HostRequest<Payload>) => unknown;

interface AnyHostOptions<Payload> extends RelayOptions {
  /**
   * The tools that the host offers. More can be registered later.
   *
   * `document.modelContext` of a browser with WebMCP stands for all tools that the page registers there, now and later.
   * The browser reports neither their `outputSchema` nor why a call has failed. A tool that the relay would refuse is
   * left out, and the console says so.
   */
  tools?: readonly Tool[] | ModelContext | null;
  /**
   * Called once for each request that is no tool call, in the order of their arrival, without waiting for the previous
   * answer. Without it, the guest gets an error with the code `no_handler`.
   */
  onRequest?: Handler<Payload>;
  /**
   * Called in place of `onRequest`, or of a tool, for a request whose handler was interrupted because the page was
   * reloaded or left, and may have done a part of its work. By default the guest gets an error with the code
   * `interrupted`.
   */
  onInterrupted?: Handler<Payload>;
  /** Whether to renew the session as long as the page is open. By default true. */
  autoRenew?: boolean;
  /** Which calls of tools need the person's approval. By default `never`. A denied call is a result with `isError`. */
  approve?: Approve;
  /** Asks the person for approval. By default a dialog of the client's does, whose buttons no script can press. */
  ask?: Ask;
}

/** A host has tools, or answers requests, or both. */
export type HostOptions<Payload = any> = AnyHostOptions<Payload> &
  ({ tools: readonly Tool[] | ModelContext } | { onRequest: Handler<Payload> });

/**
 * `connecting`, `connected` (the stream is open), `polling` (a proxy blocks the stream, or the relay is too busy for
 * one), `disconnected` (and trying again automatically), `ended` (for good).
 */
export type SessionState = "connecting" | "connected" | "polling" | "disconnected" | "ended";

/**
 * Why a session ended: `ended` (by its host), `expired`, `replaced` (another host has taken the session over), or the
 * code of the problem if the relay refused the host's token.
 */
export type EndReason = "ended" | "expired" | "replaced" | "host_token_required" | "host_token_wrong";

export interface SessionEvents<Payload = any> {
  state: CustomEvent<{ state: SessionState; reason: EndReason | null }>;
  request: CustomEvent<HostRequest<Payload>>;
  /** The relay has accepted the answer, or refused it with this problem. */
  answered: CustomEvent<{ id: string; problem: RelayError | null }>;
  /** The guest has withdrawn a request that is not answered. A host that polls does not learn of it. */
  withdrawn: CustomEvent<{ id: string }>;
  /** An agent has listed the tools: this one, if its program has said who it is. */
  guest: CustomEvent<{ client: AgentClient | null }>;
  /** The relay has accepted the tools, or refused the latest change of them with this problem. */
  tools: CustomEvent<{ tools: readonly ToolDefinition[]; problem: RelayError | null }>;
  renewed: CustomEvent<{ expiresAt: string }>;
  ended: CustomEvent<{ reason: EndReason }>;
}

/** The host's side of a session. */
export interface Session<Payload = any> extends EventTarget {
  /** The code that guests need: eight characters. */
  readonly code: string;
  /** The URL of the session's MCP server, whose tools are those of the session. */
  readonly mcpUrl: string;
  /** The tools that guests see. */
  readonly tools: readonly ToolDefinition[];
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** ISO 8601, UTC. Later after each renewal. */
  readonly expiresAt: string;
  /** The seconds until the session expires, by the relay's clock. */
  readonly ttl: number;
  readonly state: SessionState;
  /** Why the session has ended; null before. */
  readonly reason: EndReason | null;
  /**
   * Why the state is `disconnected`; null in every other state. With the code `client_error` it stands for another
   * error, its `cause`, after which trying again would be of no use.
   */
  readonly problem: RelayError | null;
  /** Whether the session is renewed automatically. */
  autoRenew: boolean;
  /** Which calls of tools need the person's approval. It may be changed. */
  approve: Approve;
  /** Renew the session for another ten minutes. Rejects with a RelayError. */
  renew(): Promise<void>;
  /**
   * Offer another tool, until `signal` is aborted. Resolves when guests see it.
   *
   * Rejects with a TypeError if it has no `execute`, or another tool has its name, and with a RelayError if the relay
   * refuses it, or the session has ended. It is then not registered.
   */
  registerTool(tool: Tool, options?: { signal?: AbortSignal }): Promise<void>;
  /** End the session, for guests too. Rejects with a RelayError if the call fails. */
  end(): Promise<void>;
  addEventListener<Type extends keyof SessionEvents>(
    type: Type,
    listener: (event: SessionEvents<Payload>[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/**
 * Create a session and answer its requests, or resume the session that this tab has with the relay, after a reload for
 * example. No request is handled twice. Guests see the tools as soon as it resolves.
 *
 * `sessionStorage` keeps the session, for the tab and the origin:
 * - All pages of the origin that the tab shows one after the other go on with the same session, whatever their paths.
 *   So the code stays valid if the page changes its path with `history.pushState` and is reloaded, if a link leads to
 *   another page that calls `host`, and after the Back button. A page that wants a session of its own ends the other.
 * - A page that opens several sessions finds each again by the order of the calls.
 * - A frame has sessions of its own, and finds them again by its position in the page.
 * - A new tab has a new session, and so has a window that a script opens, and a duplicate of the tab. In pages without
 *   https, whose browser has no `navigator.locks`, a duplicate takes the session over, and so does a window that a
 *   script opens empty; the original's ends as `replaced`.
 *
 * Rejects with a RelayError if the session can be neither resumed nor created, or the relay refuses the tools, and with
 * a TypeError if the options are not valid.
 */
export function host<Payload = any>(options: HostOptions<Payload>): Promise<Session<Payload>>;

export interface RequestOptions {
  /** After how many milliseconds to withdraw the request. By default it is waited for until the session ends. */
  timeout?: number;
  /** Withdraws the request when aborted. */
  signal?: AbortSignal;
  /** The request's id: 1 to 64 letters, digits or `_ . : -`. The same id with the same payload is the same request. */
  id?: string;
  /** Called with each report of the host's, while the answer is waited for. */
  onProgress?: (report: ProgressReport) => void;
}

export interface Guest {
  readonly code: string;
  /** Look the session up. Rejects with a RelayError. */
  session(): Promise<{
    code: string;
    createdAt: string;
    expiresAt: string;
    active: boolean;
    /** Whether a host listens now. False at the latest a minute after the last one is gone. */
    listening: boolean;
    ttl: number;
  }>;
  /**
   * Send a request, and resolve to the host's result.
   *
   * Rejects with a RelayError: its `code` is that of the relay's problem (`session_not_found`, `payload_too_large`, …),
   * `timeout`, `unreachable` or `unexpected_answer`, or its `error` is the error that the host answered with. A limit
   * (`rate_limited`, `too_many_pending`) is such a problem only before the relay has accepted the request; later the
   * guest waits as the relay asks it to. Rejects with the reason of `signal` if that is aborted, and with a TypeError
   * if the call itself is not valid.
   *
   * A request that is not waited for any more, because of `timeout` or `signal`, is withdrawn: the signal of the host's
   * handler aborts, and its answer is dropped.
   */
  request<Result = any>(payload: Json, options?: RequestOptions): Promise<Result>;
  /** The tools that the host offers, none before it has registered some. Rejects with a RelayError. */
  tools(): Promise<ToolDefinition[]>;
  /**
   * Call a tool with these arguments, by default `{}`, and resolve to its result, also if that has `isError`.
   *
   * Rejects as `request` does. `error` is `{ code: "unknown_tool", message }` if the host has no such tool.
   */
  callTool(name: string, args?: { [name: string]: any }, options?: RequestOptions): Promise<CallToolResult>;
}

/**
 * Be a guest of a session. The code may be in lower case, or with spaces or hyphens, for example. Throws a TypeError if
 * the relay's URL is not valid.
 */
export function guest(code: string, options?: RelayOptions): Guest;

export class RelayError extends Error {
  /**
   * The `code` of the relay's problem document, or `timeout`, `unreachable`, `unexpected_answer`, `client_error`, or in
   * a host's signal `withdrawn`.
   */
  readonly code?: string;
  /** The HTTP status, if there was an answer. */
  readonly status?: number;
  /** The seconds to wait before trying again, at most 60. */
  readonly retryAfter?: number;
  /** The error that the host answered with. */
  readonly error?: any;
}
