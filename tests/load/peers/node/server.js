// Express with multer, pg and BullMQ, as their documentation leads to. DATABASE_URL, REDIS_URL, DATA and PORT say where.
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { Queue } from "bullmq";
import express from "express";
import { Redis } from "ioredis";
import multer from "multer";
import pg from "pg";

const data = process.env.DATA;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 });
const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const queue = new Queue("files", { connection });
for (let number = 0; number < 256; number++) mkdirSync(path.join(data, number.toString(16).padStart(2, "0")), { recursive: true });

const storage = multer.diskStorage({
  destination: (request, file, done) => {
    request.fileId = randomUUID();
    done(null, path.join(data, request.fileId.slice(0, 2)));
  },
  filename: (request, file, done) => done(null, request.fileId),
});
const uploads = multer({ storage });
const application = express();

application.post("/upload/", uploads.single("file"), async (request, response) => {
  if (process.env.FSYNC === "on") {
    const handle = await open(request.file.path);
    await handle.sync();
    await handle.close();
  }
  const file = path.relative(data, request.file.path);
  const { rows } = await pool.query(
    "INSERT INTO upload (id, file, uploaded_at, processed) VALUES ($1, $2, now(), false) RETURNING id, file, uploaded_at, processed",
    [request.fileId, file],
  );
  await queue.add("process", { id: request.fileId });
  response.status(201).json(rows[0]);
});

application.get("/files/", async (request, response) => {
  const { rows } = await pool.query("SELECT id, file, uploaded_at, processed FROM upload ORDER BY uploaded_at DESC LIMIT 50");
  response.json({ results: rows });
});

application.listen(Number(process.env.PORT), "127.0.0.1");
