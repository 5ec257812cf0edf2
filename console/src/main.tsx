/** Starts the page. */

import { createRoot } from "react-dom/client";
import { App } from "./app.js";
import { run } from "./live/live.js";
import { apply } from "./preferences.js";
import { start } from "./session.js";
import "./style.css";

apply();
run();
void start();
createRoot(document.getElementById("root")!).render(<App />);
