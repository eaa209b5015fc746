// Prints what Rocket.Chat's own parser makes of each text of a JSON list: node parse.mjs
// FILE. The options are those that servers parse messages with by default.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { parse } = createRequire(import.meta.url)('@rocket.chat/message-parser');
const options = { colors: true, emoticons: true, katex: { dollarSyntax: false, parenthesisSyntax: true } };
console.log(JSON.stringify(JSON.parse(readFileSync(process.argv[2], 'utf8')).map((text) => parse(text, options))));
