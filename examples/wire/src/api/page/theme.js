// Sets the chosen theme before the first paint; the rest of the page is a module and comes later.
try {
  const theme = localStorage.getItem('ferula-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden: the system's theme is used then.
}
