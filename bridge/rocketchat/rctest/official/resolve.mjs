// Lets Node load packages that were compiled for a bundler: imports of directories,
// and of files without their extension.
import { register } from 'node:module';

const source = `
export async function resolve(specifier, context, next) {
	for (const end of ['', '.js', '/index.js']) {
		try { return await next(specifier + end, context); } catch (err) {
			if (!/ERR_UNSUPPORTED_DIR_IMPORT|ERR_MODULE_NOT_FOUND/.test(err.code) || end === '/index.js') throw err;
		}
	}
}`;
register('data:text/javascript,' + encodeURIComponent(source));
