import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Names without hashes: the server embeds these files by name, and sends each with an ETag. */
const names = {
  entryFileNames: "[name].js",
  chunkFileNames: "[name].js",
  assetFileNames: (asset: { names: string[] }) =>
    asset.names[0]?.endsWith(".css") ? "app.css" : "[name][extname]",
};

export default defineConfig({
  plugins: [react()],
  // `src/client` is the TypeScript client, which finds its dependencies here.
  resolve: { preserveSymlinks: true },
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: { input: { app: "index.html" }, output: names },
  },
  worker: { format: "es", rolldownOptions: { output: names } },
  server: {
    // The development server stands in front of `orderlog serve`, whose origin the calls take.
    proxy: {
      "^/(orders\\.v1|grpc\\.health)\\.|^/access\\.json": {
        target: process.env.ORDERLOG_SERVER ?? "http://127.0.0.1:50051",
        changeOrigin: true,
        configure: (proxy) => proxy.on("proxyReq", (request) => request.removeHeader("origin")),
      },
    },
  },
});
