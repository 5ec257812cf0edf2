/** The language and the theme that the user chose, kept in this browser. */

import { Store, useStore } from "./store.js";
import { en, type Text } from "./text/en.js";
import { ko } from "./text/ko.js";

export type Language = "en" | "ko";
export type Theme = "system" | "light" | "dark";

const LANGUAGES: Record<Language, Text> = { en, ko };

function stored<T extends string>(key: string, known: readonly T[], otherwise: T): Store<T> {
  const found = localStorage.getItem(key) as T;
  return new Store(known.includes(found) ? found : otherwise);
}

const preferred: Language = navigator.language.startsWith("ko") ? "ko" : "en";
export const language = stored<Language>("orderlog-language", ["en", "ko"], preferred);
export const theme = stored<Theme>("orderlog-theme", ["system", "light", "dark"], "system");

export function useText(): Text {
  return LANGUAGES[useStore(language)];
}

/** Applies the choices to the document, now and when they change. */
export function apply(): void {
  const show = () => {
    document.documentElement.lang = language.get();
    document.documentElement.dataset.theme = theme.get();
    localStorage.setItem("orderlog-language", language.get());
    localStorage.setItem("orderlog-theme", theme.get());
  };
  language.subscribe(show);
  theme.subscribe(show);
  show();
}
