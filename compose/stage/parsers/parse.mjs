// Reads a JSON list of texts and writes what Rocket.Chat's own parser makes of
// each: node parse.mjs DIRECTORY VERSION <texts.json >trees.json
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [directory, version] = process.argv.slice(2);
const home = resolve(directory, 'node_modules', `parser-${version}`);
const about = JSON.parse(readFileSync(resolve(home, 'package.json'), 'utf8'));
if (about.version !== version) {
	throw new Error(`${home} is version ${about.version}`);
}

// The package says nothing of its being a module, so it is told here.
async function load() {
	const source = readFileSync(resolve(home, about.main), 'utf8');
	if (!/^export\s*\{/m.test(source) && !/;export\s*\{/.test(source)) {
		return createRequire(import.meta.url)(home);
	}
	return import(`data:text/javascript;base64,${Buffer.from(source).toString('base64')}`);
}

const { parse } = await load();
const options = { colors: true, emoticons: true, katex: { dollarSyntax: false, parenthesisSyntax: true } };
const texts = JSON.parse(readFileSync(0, 'utf8'));
const trees = texts.map((text) => {
	try {
		return parse(text, options);
	} catch {
		return [{ type: 'PARAGRAPH', value: [{ type: 'PLAIN_TEXT', value: text }] }];
	}
});
process.stdout.write(JSON.stringify(trees));
