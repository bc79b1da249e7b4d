// clipbridge: times and sizes in few characters, as the server writes them too.

const units = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count) {
    let power = 0;
    while (count >= 1000 && power < units.length - 1) {
        count /= 1000;
        power += 1;
    }
    return `${power > 0 && count < 100 ? count.toFixed(1) : Math.floor(count)} ${units[power]}`;
}

export function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const pair = (big, bigUnit, small, smallUnit) => (small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`);
    if (whole < 60) return `${whole} s`;
    if (whole < 600) return pair(Math.floor(whole / 60), "min", whole % 60, "s");
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    if (whole < 86400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
    return pair(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}
