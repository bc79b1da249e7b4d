// clipbridge
// SPDX-License-Identifier: Apache-2.0
//
// What many run today: takes a webhook, verifies its signature, and stores nothing.
"use strict";

const http = require("node:http");
const crypto = require("node:crypto");

const tolerance = 300;
const accepted = '{"outcome":"accepted"}';

function isGenuine(header, body) {
    const match = /^time=(\d+),sig1=([0-9a-f]{64})$/.exec(header ?? "");
    if (!match || Math.abs(Date.now() / 1000 - Number(match[1])) > tolerance) {
        return false;
    }
    const code = crypto.createHmac("sha256", process.env.SECRET).update(`${match[1]}.`).update(body).digest();
    return crypto.timingSafeEqual(code, Buffer.from(match[2], "hex"));
}

http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
        const isGood = isGenuine(request.headers["webhook-signature"], Buffer.concat(chunks));
        response.writeHead(isGood ? 200 : 401, { "Content-Type": "application/json" });
        response.end(isGood ? accepted : '{"error":"signature_mismatch"}');
    });
}).listen(Number(process.env.PORT), "127.0.0.1");
