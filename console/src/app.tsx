/** The frame around every view: navigation, connection, sign-in, and commands that were not done. */

import { type FormEvent, useEffect, useState } from "react";
import { Link, Redirect, Route, Switch, useLocation } from "wouter";
import { isOpen, pending } from "./commands.js";
import { EventsView } from "./events.js";
import { count } from "./format.js";
import { connection, position } from "./live/live.js";
import { CustomerView, NamesView, ProductView } from "./names.js";
import { OperationsView } from "./operations.js";
import { CreateOrder } from "./orders/create.js";
import { OrderList } from "./orders/list.js";
import { OrderView } from "./orders/order.js";
import { OverviewView } from "./overview.js";
import { language, type Language, theme, type Theme, useText } from "./preferences.js";
import { can, session, signIn, signOut, type Session } from "./session.js";
import { useStore } from "./store.js";
import { Tray } from "./tray.js";
import { Empty, Field, Loading } from "./ui.js";

export function App() {
  const text = useText();
  const now = useStore(session);
  useUnsentWarning();
  if (now.state === "signed-out") return <SignIn isRefused={now.isRefused} />;
  return (
    <div className="app">
      <a className="skip" href="#main">
        {text.app.skip}
      </a>
      <Side session={now} />
      <main id="main" tabIndex={-1}>
        <ConnectionNote />
        {now.state === "signed-in" ? <Views session={now} /> : <Loading />}
      </main>
      <Tray />
    </div>
  );
}

/** Asks before the tab closes while a command has no answer. */
function useUnsentWarning(): void {
  const isWaiting = useStore(pending).some(isOpen);
  useEffect(() => {
    if (!isWaiting) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [isWaiting]);
}

function Views({ session: now }: { session: Session }) {
  const text = useText();
  const [path] = useLocation();
  useEffect(() => {
    const name = path.split("/")[1] as keyof typeof text.app;
    const title = text.app[name];
    document.title = typeof title === "string" ? `${title} · orderlog` : "orderlog";
  }, [path, text]);
  if (!can(now, "Query", "query")) {
    if (can(now, "Projection", "operate")) return <OperationsView />;
    return <Empty title={text.signIn.none} />;
  }
  return (
    <Switch>
      <Route path="/">
        <Redirect to="/orders" replace />
      </Route>
      <Route path="/orders">
        <OrderList />
      </Route>
      <Route path="/orders/:id">{({ id }) => <OrderView key={id} orderId={id} />}</Route>
      {can(now, "Command", "command") && (
        <Route path="/new">
          <CreateOrder />
        </Route>
      )}
      <Route path="/customers">
        <NamesView kind="customer" />
      </Route>
      <Route path="/customers/:id">{({ id }) => <CustomerView key={id} id={id} />}</Route>
      <Route path="/products">
        <NamesView kind="product" />
      </Route>
      <Route path="/products/:id">{({ id }) => <ProductView key={id} id={id} />}</Route>
      <Route path="/overview">
        <OverviewView />
      </Route>
      {can(now, "Event", "subscribe") && (
        <Route path="/events">
          <EventsView />
        </Route>
      )}
      <Route path="/operations">
        <OperationsView />
      </Route>
      <Route>
        <Empty title={text.app.notFound}>
          <Link href="/orders">{text.app.toOrders}</Link>
        </Empty>
      </Route>
    </Switch>
  );
}

function Side({ session: now }: { session: Session }) {
  const text = useText();
  const isReader = can(now, "Query", "query");
  const views = [
    ["orders", isReader],
    ["customers", isReader],
    ["products", isReader],
    ["overview", isReader],
    ["events", isReader && can(now, "Event", "subscribe")],
    ["operations", can(now, "Projection", "query", "operate")],
  ] as const;
  return (
    <header className="side">
      <Link href="/orders" className="brand">
        <img src="/icon.svg" alt="" width="22" height="22" />
        {text.app.name}
      </Link>
      <nav aria-label={text.app.menu}>
        {views.map(([name, isOffered]) => isOffered && <NavLink key={name} name={name} />)}
      </nav>
      <div className="settings">
        <LiveMark />
        <label>
          <span className="hidden">{text.app.language}</span>
          <select
            value={useStore(language)}
            onChange={(event) => language.set(event.target.value as Language)}
          >
            <option value="en">English</option>
            <option value="ko">한국어</option>
          </select>
        </label>
        <label>
          <span className="hidden">{text.app.theme}</span>
          <select
            value={useStore(theme)}
            onChange={(event) => theme.set(event.target.value as Theme)}
          >
            {(["system", "light", "dark"] as const).map((it) => (
              <option key={it} value={it}>
                {text.app.themes[it]}
              </option>
            ))}
          </select>
        </label>
        {now.state === "signed-in" && now.hasToken && (
          <button type="button" className="quiet" onClick={() => signOut()}>
            {text.app.signOut}
          </button>
        )}
      </div>
    </header>
  );
}

type View = "orders" | "customers" | "products" | "overview" | "events" | "operations";

function NavLink({ name }: { name: View }) {
  const text = useText();
  const [path] = useLocation();
  const isHere = path.split("/")[1] === name || (name === "orders" && path === "/new");
  return (
    <Link href={`/${name}`} aria-current={isHere ? "page" : undefined}>
      {text.app[name]}
    </Link>
  );
}

/** Says whether the page is live, and at which position. */
function LiveMark() {
  const text = useText();
  const now = useStore(connection);
  const at = useStore(position);
  return (
    <p className="live" data-connection={now} role="status" title={text.app.position(count(at))}>
      {text.connection[now]}
    </p>
  );
}

function ConnectionNote() {
  const text = useText();
  const now = useStore(connection);
  if (now !== "broken" && now !== "offline") return null;
  return (
    <p className="note offline" role="status">
      <strong>{text.connection[now]}.</strong>{" "}
      {now === "offline" ? text.connection.explainOffline : text.connection.explain}
    </p>
  );
}

function SignIn({ isRefused }: { isRefused: boolean }) {
  const text = useText();
  const [given, setGiven] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void signIn(given);
  };
  return (
    <main className="sign-in">
      <form className="panel form" onSubmit={submit} noValidate>
        <h1>{text.signIn.title}</h1>
        <p>{text.signIn.lead}</p>
        <Field
          label={text.signIn.token}
          type="password"
          value={given}
          isWide
          autoFocus
          error={isRefused ? text.signIn.refused : undefined}
          onChange={setGiven}
        />
        <button type="submit" className="primary" disabled={given.trim() === ""}>
          {text.signIn.submit}
        </button>
      </form>
    </main>
  );
}
