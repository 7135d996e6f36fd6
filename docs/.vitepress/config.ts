import { readFileSync } from "node:fs";
import { defineConfig } from "vitepress";
import { repositoryPage } from "../../test/package/pack.js";
import { anchorOf } from "../../test/tools/markdown.js";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const repository = repositoryPage(manifest);

/** Where a link of a page leads on the site: what lies outside of `docs` is shown by the repository. */
function onSite(href: string, page: string): string {
  if (/^([a-z]+:|#|\/)/.test(href)) return href;
  // README.ru.md is shown as the Russian home page; its links are those of the repository's root.
  const [path = "", hash = ""] = href.split(/(?=#)/);
  const isRussianHome = page === "ru/index.md" || page === "ru/README.md";
  const from = isRussianHome ? "" : `docs/${page}`;
  const target = new URL(path, `https://root/${from}`).pathname.slice(1);
  if (target === "README.md") return `/${hash}`;
  if (target === "README.ru.md") return `/ru/${hash}`;
  if (!/^docs\/(?!api\/).*(\.md|\/)$/.test(target)) return `${repository}/blob/main/${target}${hash}`;
  return `/${target.slice("docs/".length).replace(/README\.md$/, "")}${hash}`;
}

/** A picture that has a dark twin follows the switch of the site, not the system alone. */
function onePicture(html: string): string {
  return html.replace(
    /<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*<img alt="([^"]*)" src="([^"]+)">\s*<\/picture>/g,
    '<img class="dark-only" alt="$2" src="$1"><img class="light-only" alt="$2" src="$3">',
  );
}

const page = (text: string, link: string) => ({ text, link });

/** Built by typedoc beside the pages, and no page of this site: opened anew, not by its router. */
const api = { ...page("API", "/api/index.html"), target: "_self" };

export default defineConfig({
  title: "grammy-safe-polling",
  description: manifest.description,
  base: process.env.SITE_BASE ?? "/",
  cleanUrls: false,
  rewrites: { "README.md": "index.md", ":folder/README.md": ":folder/index.md" },
  srcExclude: ["api/**"],
  // The theme's grey on grey is too pale to read.
  head: [
    ["style", {}, "div[class*='language-'] > span.lang { color: var(--vp-c-text-1) !important }"],
    // The label of the search button names what it shows: not its key.
    ["style", {}, ".DocSearch-Button-Keys { display: none !important }"],
    ["style", {}, ".dark img.light-only, html:not(.dark) img.dark-only { display: none }"],
  ],
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    // The pages are read on GitHub too, and link to each other's headings as GitHub names them.
    anchor: { slugify: anchorOf },
    config(md) {
      md.core.ruler.push("site-links", ({ tokens, env }) => {
        for (const token of tokens.flatMap((each) => [each, ...(each.children ?? [])])) {
          const href = token.type === "link_open" && token.attrGet("href");
          if (href) token.attrSet("href", onSite(href, env.relativePath));
          // Pictures of README.ru.md, which is shown from docs/ru.
          const src = token.type === "image" && token.attrGet("src");
          if (src) token.attrSet("src", src.replace(/^docs\//, "../"));
          // `${{Postgres.DATABASE_URL}}` is text, and no expression of Vue.
          if (token.type === "code_inline") token.attrSet("v-pre", "");
          if (token.type.startsWith("html_"))
            token.content = onePicture(token.content.replaceAll('"docs/', '"../'));
        }
      });
    },
  },
  locales: {
    root: { label: "English", lang: "en" },
    ru: {
      label: "Русский",
      lang: "ru",
      link: "/ru/",
      themeConfig: {
        nav: [page("Быстрый старт", "/ru/quick-start"), page("409", "/ru/409"), api],
        sidebar: [
          {
            text: "По-русски",
            items: [
              page("Обзор", "/ru/"),
              page("Быстрый старт", "/ru/quick-start"),
              page("Переход", "/ru/migrating"),
              page("409: что это значит", "/ru/409"),
              page("Параметры", "/ru/options"),
              page("Если что-то не так", "/ru/troubleshooting"),
            ],
          },
          { text: "По-английски", items: [page("Вся документация", "/")] },
        ],
        outline: { label: "На этой странице" },
        docFooter: { prev: "Назад", next: "Дальше" },
        darkModeSwitchLabel: "Оформление",
        sidebarMenuLabel: "Меню",
        returnToTopLabel: "Наверх",
        langMenuLabel: "Язык",
      },
    },
  },
  themeConfig: {
    // Not every page is there in Russian.
    i18nRouting: false,
    search: {
      provider: "local",
      options: {
        locales: {
          ru: {
            translations: {
              button: { buttonText: "Поиск", buttonAriaLabel: "Поиск" },
              modal: {
                noResultsText: "Ничего не найдено:",
                resetButtonTitle: "Очистить",
                footer: { selectText: "открыть", navigateText: "выбрать", closeText: "закрыть" },
              },
            },
          },
        },
      },
    },
    socialLinks: [{ icon: "github", link: repository }],
    nav: [page("Quick start", "/quick-start"), page("409", "/409"), api],
    sidebar: [
      {
        text: "Begin here",
        items: [
          page("Quick start", "/quick-start"),
          page("Migrating", "/migrating"),
          page("Which lock?", "/locks"),
          page("409: what it means", "/409"),
          page("Before production", "/checklist"),
        ],
      },
      {
        text: "Decide",
        items: [
          page("Webhook, one instance, lock", "/ways"),
          page("Free plans, in numbers", "/free-plans"),
          page("One token, two places", "/two-places"),
          page("Agents and MCP servers", "/agents"),
        ],
      },
      {
        text: "Understand it",
        items: [
          page("How it works", "/how-it-works"),
          page("Guarantees", "/guarantees"),
          page("Glossary", "/glossary"),
        ],
      },
      {
        text: "Look it up",
        items: [
          page("Options", "/options"),
          page("Events and errors", "/errors"),
          page("Runtimes", "/runtimes"),
        ],
      },
      {
        text: "Locks",
        items: ["file", "postgres", "redis", "memory"]
          .map((lock) => page(lock, `/${lock}`))
          .concat(page("Prisma and others", "/databases"), page("Your own", "/custom-lock")),
      },
      {
        text: "Operate it",
        items: [
          page("Platforms", "/platforms/"),
          page("NestJS, Express, Drizzle", "/frameworks"),
          page("Cron, queues, broadcasts", "/cron"),
          page("Who wins: priorities", "/priority"),
          page("Troubleshooting", "/troubleshooting"),
          page("Runbook", "/runbook"),
          page("Health and metrics", "/observability"),
          page("Doctor", "/doctor"),
          page("Render monitor", "/render"),
        ],
      },
      {
        text: "Test and proof",
        items: [
          page("Emulator", "/testing"),
          page("Playground", "/playground"),
          page("Simulation", "/simulation"),
          page("Chaos and mutations", "/proof"),
          page("Benchmarks", "/benchmarks"),
        ],
      },
    ],
  },
});
