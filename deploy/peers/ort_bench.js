// Times ONNX Runtime on one graph:
//   node ort_bench.js MODEL.onnx THREADS SHAPES ROUNDS CHECK VOCAB
// The arguments are those of torch_bench.py; prints one JSON object.
'use strict'
const fs = require('fs')
const { createRequire } = require('module')
const ort = createRequire(process.env.PEERS_NODE + '/')('onnxruntime-node')

// Ids are weights.py's token_ids.
function tensor (batch, length, id) {
  const data = BigInt64Array.from({ length: batch * length }, (_, i) => BigInt(id(i)))
  return new ort.Tensor('int64', data, [batch, length])
}

async function main (model, threads, shapes, rounds, check, vocab) {
  const now = () => Number(process.hrtime.bigint()) / 1e9
  let start = now()
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: Number(threads),
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all'
  })
  const out = { load_seconds: now() - start, seconds: {}, version: ort.env.versions.node }
  const score = async (ids) => (await session.run({ ids }))[session.outputNames[0]].data
  if (check !== '-') {
    out.scores = []
    for (const ids of JSON.parse(fs.readFileSync(check))) {
      out.scores.push((await score(tensor(1, ids.length, i => ids[i])))[0])
    }
  }
  for (const shape of shapes.split(',').filter(Boolean)) {
    const [batch, length] = shape.split('x').map(Number)
    const ids = tensor(batch, length, i => i * 7919 % Math.min(vocab, 4096))
    await score(ids)
    out.seconds[shape] = []
    for (let i = 0; i < rounds; i++) {
      start = now()
      await score(ids)
      out.seconds[shape].push(now() - start)
    }
  }
  out.rss_bytes = process.memoryUsage().rss
  console.log(JSON.stringify(out))
}

main(...process.argv.slice(2)).catch(err => {
  console.error(err)
  process.exit(1)
})
