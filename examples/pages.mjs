// Serves one of the examples' pages to a browser: node examples/pages.mjs examples/push/ticker.html [port]
//
// A hub refuses web pages of other origins unless it is told which to allow, so start it with
// quintet serve --allow-origin http://127.0.0.1:8000
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const [, , file, port = '8000'] = process.argv
if (!file) {
  console.error('usage: node pages.mjs PAGE.html [PORT]')
  process.exit(2)
}

const server = createServer(async (request, response) => {
  try {
    if (new URL(request.url, 'http://page').pathname !== '/') {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('the page is at /\n')
      return
    }
    const page = await readFile(file)
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' }).end(page)
  } catch (error) {
    response.writeHead(500, { 'Content-Type': 'text/plain' }).end(`${error.message}\n`)
  }
})
server.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
server.listen(Number(port), '127.0.0.1', () => {
  const hub = process.env.QUINTET_URL ?? 'http://127.0.0.1:7070'
  console.log(`open http://127.0.0.1:${server.address().port}/?hub=${encodeURIComponent(hub)}`)
})
